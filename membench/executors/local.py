"""A pool of processes of this machine, one run each.

A process that dies costs its run what it did since its last checkpoint, and no other run anything; peak
memory is that run's alone.
"""

import os
import signal
import time
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import msgspec

from membench.executors import Assignment, Ending, Executor, Job
from membench.executors.processes import process_context, start_process
from membench.progress import read_note

LAST_WORDS_SECONDS = 5.0
"""Time that a stalled process has to write into its log where it stands, before it is killed."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalPool(Executor):
    """Processes of this machine."""

    def __init__(self) -> None:
        self._context = process_context()

    @property
    def num_slots(self) -> int:
        """One per core."""
        return available_cores()

    def start(self, assignments: Sequence[Assignment]) -> list[Job]:
        """Start a process each."""
        return [LocalJob(self._context, assignment) for assignment in assignments]

    def wait(self, jobs: Sequence[Job], seconds: float) -> list[Job]:
        """Return those jobs that have ended; those that stand still are ended."""
        processes = [job for job in jobs if isinstance(job, LocalJob)]
        ended = connection.wait([job.sentinel for job in processes], seconds)
        for job in processes:
            job.end_if_stalled()
        return [job for job in processes if job.sentinel in ended]


class LocalJob(Job):
    """A process at work on a run."""

    def __init__(self, context: ForkServerContext, assignment: Assignment):
        super().__init__(assignment)
        self._results, self._stall_seconds = Path(assignment.results), assignment.stall_seconds
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = start_process(context, _work, msgspec.json.encode(assignment), sender)
        sender.close()
        self.sentinel = self._process.sentinel
        self._steps, self._stepped_at = 0, time.monotonic()
        self._has_stalled = False

    def end_if_stalled(self) -> None:
        """End a process that has taken no step for too long, and have it log where it stands."""
        note = read_note(self._results, self.config.run_id)
        if note is not None and note.steps != self._steps:
            self._steps, self._stepped_at = note.steps, time.monotonic()
        if time.monotonic() - self._stepped_at > self._stall_seconds and self._process.is_alive():
            self._has_stalled = True
            os.kill(self._process.pid or 0, signal.SIGABRT)  # faulthandler writes the stack
            self._process.join(LAST_WORDS_SECONDS)
            self._process.kill()

    def ask_to_leave(self) -> None:
        """Have the process write a checkpoint and end."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.join()

    def ending(self) -> Ending:
        """Return how the process says that it ended, or what ended it."""
        try:
            return msgspec.json.decode(self._receiver.recv_bytes(), type=Ending)
        except (EOFError, OSError):
            self._process.join()
            return Ending("lost", self._cause_of_loss())
        finally:
            self._process.join()
            self._process.close()
            self._receiver.close()

    def _cause_of_loss(self) -> str:
        code = self._process.exitcode or 0
        if self._has_stalled:
            return f"no step for {self._stall_seconds:g} s"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _work(assignment: bytes, sender: connection.Connection) -> None:
    from membench.worker import work  # loads PyTorch, which only the process itself needs

    work(assignment, sender)
