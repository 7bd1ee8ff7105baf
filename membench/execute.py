"""Many runs: those that a results folder lacks, side by side, through whatever befalls the processes."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch

from membench import logs
from membench.agent import build_agent
from membench.care import DEFAULT_CARE, Care
from membench.checkpoints import checkpoint_path
from membench.compiler import leave_compiler_out
from membench.config import RunConfig
from membench.devices import check_device
from membench.engine import LOCAL, Engine
from membench.envs import make_task
from membench.errors import InputError
from membench.executors import Assignment, Ending, Executor, Job, Refusal, make_executor
from membench.executors.processes import noticing_stops
from membench.faults import blaming_memory
from membench.folders import Stamp, make_results_folder, record_path, stamp_of
from membench.progress import Note, progress_path, read_note
from membench.records import RunRecord, read_record, write_record
from membench.status import seconds_left
from membench.train import failed_record

PROGRESS_SECONDS = 0.5
"""Time between two looks at what is running."""

REFUSED_SECONDS = 60.0
"""Time after which runs are offered again that the executor has refused."""

FRUITLESS_ATTEMPTS = 2
"""So many processes in a row lost without a new checkpoint: the run itself is what ends them."""

NUM_LAST_LINES = 5
"""Lines of its log that the record of a run quotes whose processes were lost."""


def check_runnable(configs: list[RunConfig], engine: Engine = LOCAL) -> None:
    """See that every agent and task can be built, before anything starts; costs no memory (meta device).

    And that a CUDA device is here, where the runs shall be: what a cluster has, it says itself.

    Raises:
        InputError: for the first that cannot.
    """
    distinct = {
        msgspec.json.encode(
            (config.architecture, config.memory, config.task, config.agent), order="sorted"
        ): config
        for config in configs
    }
    leave_compiler_out()
    for config in distinct.values():
        with torch.device("meta"), blaming_memory(config.architecture):
            build_agent(config, make_task(config.task))
    for config in configs:
        for horizon in [stage.horizon for stage in config.curriculum] + config.evaluation.horizons:
            make_task(msgspec.structs.replace(config.task, horizon=horizon))
    for device in {config.device for config in configs} - {"cpu"}:
        if engine.executor == "local":
            check_device(device)


@dataclass
class Standing:
    """How far the runs of a command have come, for whoever watches them."""

    results: Path
    planned: list[RunConfig]
    num_jobs: int
    running: list[RunConfig] = field(default_factory=list)
    elsewhere: list[RunConfig] = field(default_factory=list)
    """Runs that another process is at work on."""
    refusal: str = ""
    """Why the executor takes no more runs now; they are offered again every `REFUSED_SECONDS`."""
    finished: list[RunRecord] = field(default_factory=list)
    """Without their learning curves, which are on disk."""

    def progress_of(self, config: RunConfig) -> Note | None:
        """Return the latest note of a running run; None before its first."""
        return read_note(self.results, config.run_id)

    def seconds_left(self) -> float | None:
        """Estimate the time to the end from what finished runs took per step of their budgets."""
        finished = {record.run_id for record in self.finished}
        to_do = [config for config in self.planned if config.run_id not in finished]
        notes = {config.run_id: self.progress_of(config) for config in self.running}
        steps = {run_id: note.steps for run_id, note in notes.items() if note is not None}
        return seconds_left(to_do, self.finished, steps, num_jobs=self.num_jobs)


class Stopped(Exception):  # noqa: N818
    """The program was asked to end by a signal; what was under way is saved."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def run_all(
    configs: list[RunConfig],
    results: Path,
    *,
    on_change: Callable[[Standing], None],
    care: Care = DEFAULT_CARE,
    engine: Engine = LOCAL,
) -> list[RunRecord]:
    """Carry out runs side by side, each written to disk as soon as it ends.

    A run whose process is lost goes on from its checkpoint in another one. A run that another program is at
    work on is left to it, and taken over should that end without a record. An executor that has taken runs
    and takes no more is offered them again; what is under way goes on meanwhile.

    Args:
        configs: the runs; what records they have is to be done again.
        results: the results folder.
        on_change: called about twice a second and whenever a run ends.
        care: how they are looked after.
        engine: what carries them out.

    Returns:
        The records, in the order in which they ended, without their learning curves.

    Raises:
        InputError: for a run that cannot be carried out there.
        OSError: if nothing more can be written.
        Stopped: after Ctrl-C or another of `STOPS`, once every run under way has a checkpoint.
        KeyboardInterrupt: after a second one; what was under way has the checkpoint that it had.
    """
    make_results_folder(results)
    logs.check_locks(results)
    executor = make_executor(engine, configs, results)
    standing = Standing(results.resolve(), configs, engine.num_jobs or executor.num_slots)
    queue = _Queue(standing, care, executor, engine.num_jobs)
    with noticing_stops() as stop:
        try:
            while queue.is_busy and not (stop.number and not queue.jobs):
                if stop.number is None:
                    queue.fill()
                else:
                    queue.empty()
                queue.attend()
                on_change(queue.standing)
        finally:
            for job in queue.jobs:
                job.kill()
                progress_path(results, job.config.run_id).unlink(missing_ok=True)
            executor.close()
    if stop.number is not None:
        raise Stopped(stop.number)
    return queue.standing.finished


def forget_checkpoints(configs: list[RunConfig], results: Path) -> None:
    """Remove the checkpoints of runs that are to be done from the beginning, but for those at work."""
    for config in configs:
        with logs.claim(results, config.run_id) as claimed:
            if claimed:
                checkpoint_path(results, config.run_id).unlink(missing_ok=True)


class _Queue:
    """The runs of one command: which wait, which are at work, and what became of the others."""

    def __init__(self, standing: Standing, care: Care, executor: Executor, num_jobs: int | None):
        self.standing, self.care, self.executor, self.num_jobs = standing, care, executor, num_jobs
        self.results = standing.results
        self.waiting = list(standing.planned)
        self.jobs: list[Job] = []
        self.records_before = {
            config.run_id: stamp_of(record_path(self.results, config.run_id)) for config in standing.planned
        }
        self.checkpoints: dict[str, Stamp | None] = {}
        """Of every run at work, as it was when its job started."""
        self.fruitless: Counter[str] = Counter()
        """How many processes of a run were lost in a row without a new checkpoint."""
        self.is_emptied = False
        self.has_started = False
        self.refused_until = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a run waits or is at work."""
        return bool(self.waiting or self.jobs)

    def fill(self) -> None:
        """Start waiting runs as far as there is room, unless they were refused a moment ago.

        Raises:
            Refusal: if the very first are refused.
        """
        if not self.waiting or time.monotonic() < self.refused_until:
            return
        try:
            self._start(self._choose(self.num_jobs or self.executor.num_slots))
            self.standing.refusal = ""
        except Refusal as refusal:
            if not self.has_started:
                raise
            self.standing.refusal = str(refusal)
            self.refused_until = time.monotonic() + REFUSED_SECONDS

    def _choose(self, num_slots: int) -> list[RunConfig]:
        """Return the runs to start, in order, which are none that another program is at work on."""
        elsewhere, chosen = [], []
        for config in list(self.waiting):
            if len(self.jobs) + len(chosen) >= num_slots:
                break
            if self._is_done(config):
                self.waiting.remove(config)
                self._finish(config)
            elif logs.is_claimed(self.results, config.run_id):
                elsewhere.append(config)
            else:
                chosen.append(config)
        self.standing.elsewhere = elsewhere
        return chosen

    def _start(self, configs: list[RunConfig]) -> None:
        if not configs:
            return
        self.jobs += self.executor.start([self._assignment(config) for config in configs])
        self.has_started = True
        for config in configs:
            self.waiting.remove(config)

    def _is_done(self, config: RunConfig) -> bool:
        record = record_path(self.results, config.run_id)
        return stamp_of(record) not in (None, self.records_before[config.run_id])

    def _assignment(self, config: RunConfig) -> Assignment:
        self.checkpoints[config.run_id] = stamp_of(checkpoint_path(self.results, config.run_id))
        return Assignment(
            config=config,
            results=str(self.results),
            record_before=self.records_before[config.run_id],
            checkpoint_seconds=self.care.checkpoint_seconds,
            stall_seconds=self.care.stall_seconds,
        )

    def empty(self) -> None:
        """Have every job write a checkpoint and end."""
        if not self.is_emptied:
            for job in self.jobs:
                job.ask_to_leave()
        self.is_emptied = True

    def attend(self) -> None:
        """Wait a little, and see to the jobs that have ended."""
        for job in self.executor.wait(self.jobs, PROGRESS_SECONDS):
            self.jobs.remove(job)
            self._settle(job.config, job.ending())
        self.standing.running = [job.config for job in self.jobs]

    def _settle(self, config: RunConfig, ending: Ending) -> None:
        match ending.kind:
            case "done" if self._is_done(config):
                self._finish(config)
            case (
                "done" | "busy" | "interrupted"
            ):  # done, and not to be seen yet: a shared folder takes a while
                self.waiting.append(config)
            case "mistake":
                raise InputError(ending.text)
            case "no room":
                raise OSError(0, ending.text, str(self.results))
            case "lost":
                self._retry_or_fail(config, ending.text)

    def _finish(self, config: RunConfig) -> None:
        record = read_record(record_path(self.results, config.run_id))
        self.standing.finished.append(msgspec.structs.replace(record, curve=[]))

    def _retry_or_fail(self, config: RunConfig, cause: str) -> None:
        """Put a run whose process was lost first in line, or give it up as failed."""
        logs.append(self.results, config.run_id, f"its process ended: {cause}")
        checkpoint = stamp_of(checkpoint_path(self.results, config.run_id))
        is_fruitless = checkpoint == self.checkpoints[config.run_id]
        self.fruitless[config.run_id] = self.fruitless[config.run_id] + 1 if is_fruitless else 0
        if self.fruitless[config.run_id] < FRUITLESS_ATTEMPTS:
            self.waiting.insert(0, config)
            return
        with logs.claim(self.results, config.run_id) as claimed:
            if not claimed or self._is_done(config):  # another program was quicker
                self.waiting.append(config)
                return
            write_record(self.results, self._failed_record(config, cause))
        self._finish(config)

    def _failed_record(self, config: RunConfig, cause: str) -> RunRecord:
        said = " | ".join(logs.last_lines(self.results, config.run_id, NUM_LAST_LINES))
        where = logs.log_path(self.results, config.run_id).relative_to(self.results)
        return failed_record(
            config,
            f"its process ended: {cause}, {FRUITLESS_ATTEMPTS} times in a row without a new checkpoint; "
            f"the end of {where}: {said}",
        )
