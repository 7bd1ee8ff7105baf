"""Runs as tasks of a Ray cluster that is running already: the extra `ray`.

A task asks for as many CPUs as its run has threads and, on a CUDA device, for a share of a GPU. Where a node
dies or drops a task, the run goes on from its checkpoint in another one: Ray itself retries nothing, so that
what befalls runs is counted in one place.
"""

import logging
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from membench.config import RunConfig
from membench.engine import Engine
from membench.errors import InputError, one_line
from membench.executors import Assignment, Ending, Executor, Job, Refusal, import_extra
from membench.executors.on_node import RunOnNode, read_ending

Resources = dict[str, float]
"""By Ray's names: `CPU`, `GPU`."""

CONNECTION_SECONDS = 10.0


def _see_that_somebody_listens(address: str) -> None:
    """Raise an `OSError` if nobody listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECTION_SECONDS).close()


class RayExecutor(Executor):
    """Tasks of a Ray cluster."""

    def __init__(self, engine: Engine, configs: Sequence[RunConfig]):
        self._ray: Any = import_extra(engine, "ray")
        self._gpus = engine.ray_gpus
        distinct = {tuple(self._needs(config).items()) for config in configs}
        self._all_needs = [dict(needs) for needs in sorted(distinct)]
        address = engine.ray_address or os.environ.get("RAY_ADDRESS") or "auto"
        try:
            _see_that_somebody_listens(address)
            self._ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except (OSError, ValueError, RuntimeError) as error:
            told = one_line(str(error)).split(". ")[0]
            raise InputError(
                f"--ray-address {address!r}: no Ray cluster to be reached there ({told})"
            ) from None

    def _needs(self, config: RunConfig) -> Resources:
        """Return what a task asks for."""
        gpus = {} if config.device == "cpu" else {"GPU": self._gpus}
        return {"CPU": float(config.num_threads), **gpus}

    @property
    def num_slots(self) -> int:
        """As many runs as the nodes that are alive have room for.

        Raises:
            Refusal: if none of them has room for one of the runs.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return min(_room(needs, nodes) for needs in self._all_needs)

    def start(self, assignments: Sequence[Assignment]) -> list[Job]:
        """Submit a task each."""
        return [self._submit(assignment) for assignment in assignments]

    def _submit(self, assignment: Assignment) -> Job:
        needs = self._needs(assignment.config)
        task = self._ray.remote(
            num_cpus=needs["CPU"], num_gpus=needs.get("GPU", 0), max_retries=0, name=assignment.config.label
        )(_carry_out)
        return RayJob(self._ray, assignment, task.remote(msgspec.json.encode(assignment)))

    def wait(self, jobs: Sequence[Job], seconds: float) -> list[Job]:
        """Return those jobs that have ended."""
        tasks = {job.task: job for job in jobs if isinstance(job, RayJob)}
        if not tasks:
            time.sleep(seconds)
            return []
        ended, _ = self._ray.wait([*tasks], num_returns=1, timeout=seconds)
        return [tasks[task] for task in ended]

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()


class RayJob(Job):
    """A task at work on a run."""

    def __init__(self, ray: Any, assignment: Assignment, task: Any):
        super().__init__(assignment)
        self._ray, self.task, self._is_leaving = ray, task, False

    def ask_to_leave(self) -> None:
        """Have the task end after a checkpoint; one that waits for its turn is withdrawn."""
        self._is_leaving = True
        self._ray.cancel(self.task)

    def kill(self) -> None:
        """End the task now."""
        self._ray.cancel(self.task, force=True)

    def ending(self) -> Ending:
        """Return how the run ended, or what became of its task."""
        try:
            return read_ending(self._ray.get(self.task))
        except self._ray.exceptions.RayError as error:
            if self._is_leaving:
                return Ending("interrupted")
            return Ending("lost", f"{type(error).__name__}: {one_line(str(error)).split('. ')[0]}")


def _room(needs: Resources, nodes: list[Resources]) -> int:
    """Return how many runs the nodes have room for at a time."""
    room = sum(int(min(node.get(name, 0) // amount for name, amount in needs.items())) for node in nodes)
    if room == 0:
        asked = " and ".join(f"{amount:g} {name}" for name, amount in needs.items())
        most = ", ".join(
            f"{max((node.get(name, 0) for node in nodes), default=0):g} {name}" for name in needs
        )
        raise Refusal(
            f"--executor ray: a run needs {asked} on one node, and no node of the cluster has that "
            f"(alive: {len(nodes)}; the most that one has: {most})"
        )
    return room


def _carry_out(assignment: bytes) -> bytes:
    """Carry out a run on a node of the cluster; `ray.cancel` interrupts it like Ctrl-C."""
    run = RunOnNode(assignment)
    try:
        return run.finish()
    except KeyboardInterrupt:
        return run.leave()
