"""What carries runs out: processes of this machine, tasks of a Ray cluster, or jobs of Slurm.

All of them do a run in the same way, `membench.worker.work` in a process of its own, and leave records,
checkpoints and logs in the results folder, which every machine that takes part must see.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

from msgspec import Struct

from membench.config import RunConfig
from membench.engine import Engine
from membench.errors import InputError
from membench.folders import Stamp


class Assignment(Struct, frozen=True, kw_only=True):
    """What a process is to do: a run."""

    config: RunConfig
    results: str
    """The results folder; an absolute path, for working directories differ between machines."""
    record_before: Stamp | None
    """Of the record that the run had when the command began: another one means that the run is done."""
    checkpoint_seconds: float
    stall_seconds: float


class Refusal(InputError):  # noqa: N818
    """The executor takes no runs now: before it has taken any, a mistake of the user's; later, it may yet."""


class Ending(Struct, frozen=True):
    """How an attempt at a run ended."""

    kind: Literal["done", "busy", "interrupted", "mistake", "no room", "lost"]
    """`done`: there is a record. `busy`: another process is at work on the run. `interrupted`: a checkpoint
    is complete. `mistake`: the user's, in `text`. `no room`: nothing more can be written, as `text` says.
    `lost`: the process could not say, and `text` tells what ended it."""
    text: str = ""


class Job(ABC):
    """An attempt at a run, which an executor has taken on."""

    def __init__(self, assignment: Assignment):
        self.config = assignment.config

    @abstractmethod
    def ask_to_leave(self) -> None:
        """Have it write a checkpoint and end; where it has not begun, have it not begin."""

    @abstractmethod
    def kill(self) -> None:
        """End it now."""

    @abstractmethod
    def ending(self) -> Ending:
        """Return how it ended, and free what it held here; called once, when it has ended."""


class Executor(ABC):
    """A place where runs are carried out."""

    @property
    @abstractmethod
    def num_slots(self) -> int:
        """Jobs at a time, where the command does not say how many.

        Raises:
            Refusal: if there is no room for any.
        """

    @abstractmethod
    def start(self, assignments: Sequence[Assignment]) -> list[Job]:
        """Take these on, all at once.

        Raises:
            Refusal: if they are not taken.
        """

    @abstractmethod
    def wait(self, jobs: Sequence[Job], seconds: float) -> list[Job]:
        """Return those of its jobs that have ended: at once if there are any, else after about `seconds`."""

    def close(self) -> None:  # noqa: B027 - an executor may hold nothing
        """Free what it holds; its jobs have ended."""


def make_executor(engine: Engine, configs: Sequence[RunConfig], results: Path) -> Executor:
    """Return the executor of `engine`, connected, for runs such as `configs` into a results folder.

    Raises:
        InputError: if it is not to be had.
    """
    if engine.executor == "ray":
        from membench.executors.ray_tasks import RayExecutor

        return RayExecutor(engine, configs)
    if engine.executor == "slurm":
        from membench.executors.slurm_jobs import SlurmExecutor

        return SlurmExecutor(engine, configs, results)
    from membench.executors.local import LocalPool

    return LocalPool()


def import_extra(engine: Engine, package: str) -> ModuleType:
    """Import the package that an executor needs.

    Raises:
        InputError: naming the extra that brings it, if it is not there.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = engine.executor
        raise InputError(
            f"--executor {name}: needs the package {package} ({error}): pip install 'membench[{name}]'"
        ) from None
