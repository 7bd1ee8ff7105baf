"""Runs as jobs of Slurm, which submitit submits as arrays: the extra `slurm`.

submitit passes what a job is to do, and how it ended, through pickles in a folder of its own. That must be
seen by every machine and nobody else may write to it: it lies outside the results folder.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from membench.config import RunConfig
from membench.engine import Engine
from membench.errors import InputError, one_line, unknown_name
from membench.executors import Assignment, Ending, Executor, Job, Refusal, import_extra
from membench.executors.on_node import RunOnNode, read_ending

FOLDER = Path(".membench", "submitit")
"""Where submitit keeps its files, in the home folder, unless --slurm folder=DIR says otherwise."""

OURS = ("folder", "cluster")
"""Settings that are not submitit's parameters."""

CLUSTERS = ("slurm", "local")
"""submitit's, of which the second is this machine, without Slurm."""

TIME_MINUTES = 60
"""Limit of a job, unless --slurm time=MINUTES says otherwise. A run that takes longer is requeued."""

MOST_JOBS = 1_000
"""Of an array: as many as Slurm takes by default."""

LOOK_SECONDS = 5.0
"""Time between two looks at Slurm's queue."""

LOST_SECONDS = 60.0
"""Time after which a job is lost that is neither in Slurm's queue nor has told how it ended."""


class SlurmExecutor(Executor):
    """Jobs of Slurm."""

    def __init__(self, engine: Engine, configs: Sequence[RunConfig], results: Path):
        self._submitit = import_extra(engine, "submitit")
        legal = legal_settings(self._submitit)
        for name in engine.slurm:
            if name not in legal:
                raise unknown_name("--slurm", name, legal)
        _check_values(engine.slurm)
        self._cluster = engine.slurm.get("cluster", "slurm")
        settings = {
            "time": TIME_MINUTES,
            "cpus_per_task": max(config.num_threads for config in configs),
            "job_name": "membench",
            "array_parallelism": MOST_JOBS,
            **{name: value for name, value in engine.slurm.items() if name not in OURS},
        }
        folder = Path(str(engine.slurm.get("folder", Path.home() / FOLDER))).resolve()
        if folder.is_relative_to(results.resolve()):
            raise InputError(
                f"--slurm folder={folder}: must lie outside the results folder, for its pickles can run code"
            )
        try:
            self._executor = self._submitit.AutoExecutor(folder, cluster=self._cluster)
            self._executor.update_parameters(**_by_submitit_s_names(settings))
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            told = one_line(str(error)) or type(error).__name__
            raise InputError(f"--executor slurm: submitit takes no jobs here ({told})") from None
        self._looked_at = 0.0
        self._queue: set[str] | None = None

    @property
    def num_slots(self) -> int:
        """As many as an array takes: how many of them go on at a time is for Slurm to say."""
        return MOST_JOBS

    def start(self, assignments: Sequence[Assignment]) -> list[Job]:
        """Submit an array with a job each."""
        encoded = [msgspec.json.encode(assignment) for assignment in assignments]
        errors = self._submitit.core.utils
        try:
            with redirect_stderr(StringIO()):  # there submitit repeats what sbatch says
                jobs = self._executor.map_array(OneRun(), encoded)
        except (errors.FailedJobError, errors.FailedSubmissionError, OSError) as error:
            raise Refusal(f"--executor slurm: the jobs are refused ({_last_line(error)})") from None
        return [
            SlurmJob(assignment, job, self._cluster)
            for assignment, job in zip(assignments, jobs, strict=True)
        ]

    def wait(self, jobs: Sequence[Job], seconds: float) -> list[Job]:
        """Return those jobs that have ended."""
        ours = [job for job in jobs if isinstance(job, SlurmJob)]
        time.sleep(0 if any(job.has_told() for job in ours) else seconds)
        if self._cluster == "slurm" and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at, self._queue = time.monotonic(), jobs_in_queue()
        return [job for job in ours if job.has_told() or job.is_gone(self._queue)]


class SlurmJob(Job):
    """A job at work on a run, or in Slurm's queue."""

    def __init__(self, assignment: Assignment, job: Any, cluster: str):
        super().__init__(assignment)
        self._job, self._is_local, self._is_leaving = job, cluster == "local", False
        self._missing_since: float | None = None

    def has_told(self) -> bool:
        """Return whether the job has left word of how it ended."""
        return self._job.paths.result_pickle.exists()

    def is_gone(self, queue: set[str] | None) -> bool:
        """Return whether the job ended without a word, for it has not been in Slurm's queue for a while."""
        is_there = not self._job.done() if self._is_local else queue is None or self._job.job_id in queue
        if is_there:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = time.monotonic()
        patience = 0 if self._is_local or self._is_leaving else LOST_SECONDS
        return not is_there and time.monotonic() - (self._missing_since or 0) >= patience

    def ask_to_leave(self) -> None:
        """Cancel the job: Slurm sends SIGTERM first, upon which it writes a checkpoint."""
        self._is_leaving = True
        if self._is_local:
            os.kill(int(self._job.job_id), signal.SIGTERM)
        else:
            self._job.cancel(check=False)

    def kill(self) -> None:
        """Cancel the job."""
        self._job.cancel(check=False)

    def ending(self) -> Ending:
        """Return how the run ended, or what became of its job."""
        if not self.has_told():  # submitit would wait for Slurm's accounting, which may not be there
            return self._unheard(f"no word from its job{self._last_words()}")
        try:
            return read_ending(self._job.result())
        except Exception as error:  # submitit's, and whatever the job raised
            return self._unheard(_last_line(error))

    def _unheard(self, cause: str) -> Ending:
        return Ending("interrupted") if self._is_leaving else Ending("lost", cause)

    def _last_words(self) -> str:
        """Return where the job's standard error ends, and how: Slurm writes there that memory ran out."""
        path = self._job.paths.stderr
        try:
            lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        return f"; the end of {path}: {one_line(lines[-1])}" if lines else ""


class OneRun:
    """What a job does: one run."""

    def __init__(self) -> None:
        self._run: RunOnNode | None = None

    def __call__(self, assignment: bytes) -> bytes:
        """Carry out the run and return how it ended."""
        signal.signal(signal.SIGTERM, self._leave)
        self._run = RunOnNode(assignment)
        return self._run.finish()

    def _leave(self, number: int, frame: FrameType | None) -> None:
        if self._run is not None:
            self._run.ask_to_leave()

    def checkpoint(self, assignment: bytes) -> Any:
        """Save the run and return what goes on with it, which submitit puts back into Slurm's queue.

        submitit calls this when Slurm sends SIGUSR2: the job is preempted, or its time is up.
        """
        if self._run is not None:
            self._run.leave()
        return import_module("submitit.helpers").DelayedSubmission(OneRun(), assignment)


def legal_settings(submitit: Any) -> list[str]:
    """Return what --slurm may set: what `sbatch` is told, by submitit's names, and `OURS`."""
    return sorted({*submitit.SlurmExecutor._valid_parameters(), *OURS})


def _check_values(settings: Mapping[str, Any]) -> None:
    """Refuse what submitit would take, but stumble over later or do something else with."""
    if settings.get("cluster", "slurm") not in CLUSTERS:
        raise InputError(f"--slurm cluster={settings['cluster']}: must be {' or '.join(CLUSTERS)}")
    for name in ("nodes", "ntasks_per_node"):
        value = settings.get(name, 1)
        if type(value) is not int or value != 1:
            raise InputError(f"--slurm {name}={value}: must be 1, for a run is one task on one node")
    most = settings.get("array_parallelism", MOST_JOBS)
    if type(most) is not int or most < 1:
        raise InputError(f"--slurm array_parallelism={most}: must be a whole number of jobs from 1 on")


def _by_submitit_s_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as submitit's executor for any cluster takes them."""
    return {f"slurm_{name}": value for name, value in settings.items()} | {"timeout_min": settings["time"]}


def jobs_in_queue() -> set[str] | None:
    """Return the ids of this user's jobs that Slurm has not finished with; None where it does not answer."""
    command = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(done.stdout.split())


def _last_line(error: BaseException) -> str:
    lines = [one_line(line) for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
