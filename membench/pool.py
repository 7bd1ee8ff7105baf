"""A pool of processes, one run each, forked from a server that has loaded PyTorch already.

A process that dies costs its run what it did since its last checkpoint, and no other run anything; peak
memory is that run's alone.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from types import FrameType
from typing import Any

import msgspec

from membench.config import RunConfig
from membench.worker import Assignment, Ending, follow_the_program, work

LAST_WORDS_SECONDS = 5.0
"""Time that a stalled process has to write into its log where it stands, before it is killed."""

PRELOADED = ["membench.worker", "sympy"]
"""What the server loads. Counting operations on the meta device needs the second, half a second of a run."""

STOPS = (signal.SIGINT, signal.SIGTERM)


def process_context() -> ForkServerContext:
    """Return the context whose processes are forked with PyTorch loaded, with its server running.

    The server is started with `STOPS` blocked, which its children inherit: what asks the program to end shall
    neither end the server nor a worker that is not ready for it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    resource_tracker.ensure_running()  # else the next line but one would do it, and unblock signals
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return context


def call_in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, and return what it returns or raise what it raises.

    Raises:
        RuntimeError: if the process is lost.
    """
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(function, arguments, sender))
    process.start()
    sender.close()
    try:
        outcome = receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"a process was lost: exit code {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _call(function: Callable[..., Any], arguments: tuple, sender: connection.Connection) -> None:
    follow_the_program()
    try:
        sender.send(function(*arguments))
    except Exception as error:
        sender.send(error)


class Worker:
    """A process at work on a run."""

    def __init__(self, context: ForkServerContext, assignment: Assignment):
        self.config: RunConfig = assignment.config
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=work, args=(msgspec.json.encode(assignment), sender))
        self._process.start()
        sender.close()
        self.sentinel = self._process.sentinel
        self._steps, self._stepped_at = 0, time.monotonic()
        self._stalled_for: float | None = None

    def note(self, steps: int) -> None:
        """Take in how far the run is."""
        if steps != self._steps:
            self._steps, self._stepped_at = steps, time.monotonic()

    def end_if_stalled(self, seconds: float) -> None:
        """End a process that has taken no step for so long, and have it log where it stands."""
        if time.monotonic() - self._stepped_at > seconds and self._process.is_alive():
            self._stalled_for = seconds
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

    def ending(self) -> Ending | None:
        """Return how a process that has ended says it ended; None for one that was lost."""
        try:
            return msgspec.json.decode(self._receiver.recv_bytes(), type=Ending)
        except (EOFError, OSError):
            return None

    def cause_of_loss(self) -> str:
        """Return what ended a lost process, in words."""
        self._process.join()
        code = self._process.exitcode or 0
        if self._stalled_for is not None:
            return f"no step for {self._stalled_for:g} s"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """Free what the process held here."""
        self._process.join()
        self._process.close()
        self._receiver.close()


def wait(workers: list[Worker], seconds: float) -> list[Worker]:
    """Return those workers that have ended, at once if there are any and after `seconds` at the latest."""
    if not workers:
        time.sleep(seconds)
    ended = connection.wait([worker.sentinel for worker in workers], seconds) if workers else []
    return [worker for worker in workers if worker.sentinel in ended]


class Stop:
    """Whether the program was asked to end: by which signal, None so far."""

    number: int | None = None

    def take(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; the second ends the program where it stands."""
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def noticing_stops() -> Iterator[Stop]:
    """Note Ctrl-C and SIGTERM within instead of ending at once."""
    stop = Stop()
    before = {number: signal.signal(number, stop.take) for number in STOPS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
