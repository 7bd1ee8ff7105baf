"""Many runs: those that a results folder lacks, side by side, through whatever befalls the processes."""

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from membench import logs
from membench.agent import build_agent
from membench.care import DEFAULT_CARE, Care
from membench.checkpoints import checkpoint_path
from membench.config import RunConfig
from membench.envs import make_task
from membench.errors import InputError
from membench.pool import Worker, noticing_stops, process_context, wait
from membench.records import (
    RunRecord,
    Stamp,
    make_results_folder,
    read_record,
    record_path,
    stamp_of,
    write_record,
)
from membench.status import seconds_left
from membench.train import failed_record
from membench.worker import Assignment, progress_path

PROGRESS_SECONDS = 0.5
"""Time between two looks at what is running."""

FRUITLESS_ATTEMPTS = 2
"""So many processes in a row lost without a new checkpoint: the run itself is what ends them."""

NUM_LAST_LINES = 5
"""Lines of its log that the record of a run quotes whose processes were lost."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_runnable(configs: list[RunConfig]) -> None:
    """See that every agent and task can be built, before anything starts; costs no memory (meta device).

    Raises:
        InputError: for the first that cannot.
    """
    distinct = {
        msgspec.json.encode(
            (config.architecture, config.memory, config.task, config.agent), order="sorted"
        ): config
        for config in configs
    }
    for config in distinct.values():
        with torch.device("meta"):
            build_agent(config, make_task(config.task))
    for config in configs:
        for horizon in [stage.horizon for stage in config.curriculum] + config.evaluation.horizons:
            make_task(msgspec.structs.replace(config.task, horizon=horizon))
    for device in {config.device for config in configs} - {"cpu"}:
        if not torch.cuda.is_available():
            raise InputError(f"--device {device!r}: no CUDA device here (legal: cpu)")


@dataclass
class Standing:
    """How far a pool has come, for whoever watches it."""

    results: Path
    planned: list[RunConfig]
    num_jobs: int
    running: list[RunConfig] = field(default_factory=list)
    elsewhere: list[RunConfig] = field(default_factory=list)
    """Runs that another process is at work on."""
    finished: list[RunRecord] = field(default_factory=list)
    """Without their learning curves, which are on disk."""

    def progress_of(self, config: RunConfig) -> dict[str, Any]:
        """Return the latest note of a running run, the fields of `train.Progress`; empty before its first."""
        try:
            return json.loads(progress_path(self.results, config.run_id).read_text())
        except (OSError, ValueError):  # not there yet, or read while it was written
            return {}

    def seconds_left(self) -> float | None:
        """Estimate the time to the end from what finished runs took per step of their budgets."""
        finished = {record.run_id for record in self.finished}
        to_do = [config for config in self.planned if config.run_id not in finished]
        steps = {config.run_id: self.progress_of(config).get("steps", 0) for config in self.running}
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
    num_jobs: int,
    on_change: Callable[[Standing], None],
    care: Care = DEFAULT_CARE,
) -> list[RunRecord]:
    """Carry out runs side by side, each written to disk as soon as it ends.

    A run whose process is lost goes on from its checkpoint in another one. A run that another program is at
    work on is left to it, and taken over should that end without a record.

    Args:
        configs: the runs; what records they have is to be done again.
        results: the results folder.
        num_jobs: processes at a time.
        on_change: called about twice a second and whenever a run ends.
        care: how they are looked after.

    Returns:
        The records, in the order in which they ended, without their learning curves.

    Raises:
        InputError: for a run that cannot be carried out here.
        OSError: if nothing more can be written.
        Stopped: after Ctrl-C or SIGTERM, once every run under way has a checkpoint.
        KeyboardInterrupt: after a second one; what was under way has the checkpoint that it had.
    """
    make_results_folder(results)
    pool = _Pool(Standing(results, configs, num_jobs), care)
    with noticing_stops() as stop:
        try:
            while pool.is_busy and not (stop.number and not pool.workers):
                if stop.number is None:
                    pool.fill()
                else:
                    pool.empty()
                pool.attend()
                on_change(pool.standing)
        finally:
            for worker in pool.workers:
                worker.kill()
    if stop.number is not None:
        raise Stopped(stop.number)
    return pool.standing.finished


def forget_checkpoints(configs: list[RunConfig], results: Path) -> None:
    """Remove the checkpoints of runs that are to be done from the beginning, but for those at work."""
    for config in configs:
        with logs.claim(results, config.run_id) as claimed:
            if claimed:
                checkpoint_path(results, config.run_id).unlink(missing_ok=True)


class _Pool:
    """The runs of one command: which wait, which are at work, and what became of the others."""

    def __init__(self, standing: Standing, care: Care):
        self.standing, self.care, self.results = standing, care, standing.results
        self.waiting = list(standing.planned)
        self.workers: list[Worker] = []
        self.records_before = {
            config.run_id: stamp_of(record_path(self.results, config.run_id)) for config in standing.planned
        }
        self.checkpoints: dict[str, Stamp | None] = {}
        """Of every run at work, as it was when its process started."""
        self.fruitless: Counter[str] = Counter()
        """How many processes of a run were lost in a row without a new checkpoint."""
        self.context = process_context()

    @property
    def is_busy(self) -> bool:
        """Whether a run waits or is at work."""
        return bool(self.waiting or self.workers)

    def fill(self) -> None:
        """Start waiting runs as far as there is room, but for those that another program is at work on."""
        elsewhere = []
        for config in list(self.waiting):
            if len(self.workers) >= self.standing.num_jobs:
                break
            if self._is_done(config):
                self.waiting.remove(config)
                self._finish(config)
            elif logs.is_claimed(self.results, config.run_id):
                elsewhere.append(config)
            else:
                self.waiting.remove(config)
                self._start(config)
        self.standing.elsewhere = elsewhere

    def _is_done(self, config: RunConfig) -> bool:
        record = record_path(self.results, config.run_id)
        return stamp_of(record) != self.records_before[config.run_id]

    def _start(self, config: RunConfig) -> None:
        assignment = Assignment(
            config=config,
            results=str(self.results),
            record_before=self.records_before[config.run_id],
            checkpoint_seconds=self.care.checkpoint_seconds,
        )
        self.checkpoints[config.run_id] = stamp_of(checkpoint_path(self.results, config.run_id))
        self.workers.append(Worker(self.context, assignment))

    def empty(self) -> None:
        """Have every process write a checkpoint and end."""
        for worker in self.workers:
            worker.ask_to_leave()

    def attend(self) -> None:
        """Wait a little, and see to the processes that have ended or stalled."""
        for worker in wait(self.workers, PROGRESS_SECONDS):
            self.workers.remove(worker)
            self._settle(worker)
            worker.close()
        for worker in self.workers:
            worker.note(self.standing.progress_of(worker.config).get("steps", 0))
            worker.end_if_stalled(self.care.stall_seconds)
        self.standing.running = [worker.config for worker in self.workers]

    def _settle(self, worker: Worker) -> None:
        config, ending = worker.config, worker.ending()
        match ending.kind if ending else "lost":
            case "done" if self._is_done(config):
                self._finish(config)
            case "busy" | "interrupted":
                self.waiting.append(config)
            case "mistake":
                raise InputError(ending.text if ending else "")
            case "no room":
                raise OSError(0, ending.text if ending else "", str(self.results))
            case _:
                self._retry_or_fail(config, worker.cause_of_loss())

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
