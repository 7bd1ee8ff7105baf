"""Many runs: a pool of processes on this machine, one run and one process at a time per job.

Every run gets a process of its own, forked from a server that has loaded PyTorch already: a crash costs that
run alone, and peak memory is that run's alone.
"""

import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
from pebble import ProcessPool

from membench.config import RunConfig, to_settings
from membench.errors import InputError
from membench.records import RunRecord, make_results_folder, weights_path, write_record

PROGRESS_SECONDS = 0.5
"""Time between two notes of a run on where it stands."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_runnable(configs: list[RunConfig]) -> None:
    """See that every agent and task can be built, before anything starts; costs no memory (meta device).

    Raises:
        InputError: for the first that cannot.
    """
    import torch

    from membench.agent import build_agent
    from membench.envs import make_task

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
        for stage in config.curriculum:
            make_task(msgspec.structs.replace(config.task, horizon=stage.horizon))
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
    finished: list[RunRecord] = field(default_factory=list)

    def progress_of(self, config: RunConfig) -> dict[str, Any]:
        """Return the latest note of a running run, the fields of `train.Progress`; empty before its first."""
        try:
            return json.loads(_progress_path(self.results, config.run_id).read_text())
        except (OSError, ValueError):  # not there yet, or read while it was written
            return {}

    def seconds_left(self) -> float | None:
        """Estimate the time to the end from what finished runs took per step of their budgets."""
        if not self.finished:
            return None
        costs: dict[str, list[float]] = {}
        for record in self.finished:
            cost = record.seconds / record.config.total_timesteps
            costs.setdefault(record.architecture, []).append(cost)
            costs.setdefault("any", []).append(cost)
        finished = {record.run_id for record in self.finished}
        left = 0.0
        for config in self.planned:
            if config.run_id not in finished:
                share = self.progress_of(config).get("steps", 0) / config.total_timesteps
                cost = mean(costs.get(config.architecture, costs["any"]))
                left += cost * config.total_timesteps * max(0.0, 1 - share)
        return left / self.num_jobs


def _progress_path(results: Path, run_id: str) -> Path:
    return results / "progress" / f"{run_id}.json"


def run_here(
    config: RunConfig, results: Path, *, on_progress: Callable[..., None], started: float | None = None
) -> RunRecord:
    """Train one agent in this process and write its weights and its record.

    An error that is not the user's ends as a record with status `failed`.
    """
    from membench.train import failed_record, train

    try:
        weights = weights_path(results, config.run_id)
        record = train(config, weights=weights, started=started, on_progress=on_progress)
    except InputError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        cause = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        record = failed_record(config, cause)
    write_record(results, record)
    return record


def run_all(
    configs: list[RunConfig],
    results: Path,
    *,
    num_jobs: int,
    on_change: Callable[[Standing], None],
) -> list[RunRecord]:
    """Carry out runs side by side, each written to disk as soon as it ends.

    Args:
        configs: the runs.
        results: the results folder.
        num_jobs: processes at a time.
        on_change: called about twice a second and whenever a run ends.

    Returns:
        The records, in the order in which they ended.
    """
    make_results_folder(results)
    standing = Standing(results, configs, num_jobs)
    with process_pool(num_jobs) as pool:
        pending = {
            pool.schedule(_work, args=(to_settings(config), str(results))): config for config in configs
        }
        while pending:
            done, _ = wait(pending, timeout=PROGRESS_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                config = pending.pop(future)  # pyright: ignore[reportArgumentType]
                standing.finished.append(_outcome(future, config, results))
            standing.running = [config for future, config in pending.items() if future.running()]
            on_change(standing)
    return standing.finished


@contextmanager
def process_pool(num_jobs: int) -> Iterator[ProcessPool]:
    """Keep a pool of `num_jobs` processes in which every task gets a fresh one, with PyTorch loaded.

    Whatever goes wrong within ends the processes too.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(["membench.train"])
    pool = ProcessPool(max_workers=num_jobs, max_tasks=1, context=context)
    try:
        yield pool
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()


def _outcome(future: Future, config: RunConfig, results: Path) -> RunRecord:
    """Return the record of a run that ended; one whose process died gets a record that says so."""
    from membench.train import failed_record

    try:
        return msgspec.convert(future.result(), RunRecord)
    except InputError:
        raise
    except Exception as error:  # pebble's ProcessExpired and whatever came through the pipe
        record = failed_record(config, f"its process ended: {error}")
        write_record(results, record)
        return record


def _work(settings: dict, results: str) -> dict:
    """Run in a worker: train, note progress, and return the record as plain data."""
    from membench.train import Progress, process_started

    config = msgspec.convert(settings, RunConfig)
    path = _progress_path(Path(results), config.run_id)
    path.parent.mkdir(exist_ok=True)
    last = 0.0

    def note(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            path.write_text(json.dumps(progress._asdict()))

    try:
        record = run_here(config, Path(results), on_progress=note, started=process_started())
    finally:
        path.unlink(missing_ok=True)
    return msgspec.to_builtins(record)
