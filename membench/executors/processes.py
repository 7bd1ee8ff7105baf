"""Processes, forked from a server that has loaded PyTorch already, and signals that ask for the end."""

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import FrameType, ModuleType
from typing import Any

PRELOADED = ["membench.worker", "sympy"]
"""What the server loads. Counting operations on the meta device needs the second, half a second of a run."""

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that ask for the end: Ctrl-C, and what machines and schedulers send before they take one away."""


def process_context() -> ForkServerContext:
    """Return the context whose processes are forked with PyTorch loaded, with its server running.

    The server is started with `STOPS` blocked, which its children inherit: what asks the program to end shall
    neither end the server nor a process that is not ready for it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        resource_tracker.ensure_running()  # unblocks some of them for us
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        with _no_script():
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return context


@atexit.register
def _end_server() -> None:
    """End the server with the program: while it loads PyTorch it would not notice that nobody needs it."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def start_process(
    context: ForkServerContext, function: Callable[..., Any], *arguments: Any
) -> ForkServerProcess:
    """Call a function of a module in a process of its own."""
    process = context.Process(target=function, args=arguments)
    with _no_script():
        process.start()
    return process


@contextmanager
def _no_script() -> Iterator[None]:
    """Keep new processes from running the program's script again for what it defines, which none needs."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def call_in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, and return what it returns or raise what it raises.

    Raises:
        RuntimeError: if the process is lost.
    """
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    process = start_process(context, _call, function, arguments, sender)
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
    from membench.worker import follow_the_program

    follow_the_program()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # standard output is the program's
    try:
        sender.send(function(*arguments))
    except Exception as error:
        sender.send(error)


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
    """Note Ctrl-C and the other `STOPS` within instead of ending at once."""
    stop = Stop()
    before = {number: signal.signal(number, stop.take) for number in STOPS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
