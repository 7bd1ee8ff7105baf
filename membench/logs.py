"""The log of a run, `logs/ID.log` under a results folder, which is also its lock.

Whoever works on a run holds the lock on its log; the kernel frees it when that process ends, however it
ends. So two processes on one results folder never do the same run at the same time.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from membench.errors import InputError

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def log_path(results: Path, run_id: str) -> Path:
    """Return where the log of `run_id` lies."""
    return results / "logs" / f"{run_id}.log"


def check_locks(results: Path) -> None:
    """See that files of a results folder can be locked.

    Raises:
        InputError: if its file system has no locks, for then two programs could do the same run.
    """
    with tempfile.TemporaryFile(dir=results) as file:
        try:
            _lock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(
                f"--out {str(results)!r}: its file system cannot lock files ({error.strerror}); "
                "choose a folder on another"
            ) from error


@contextmanager
def claim(results: Path, run_id: str) -> Iterator[bool]:
    """Hold the lock of a run within; False where another process holds it."""
    path = log_path(results, run_id)
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        yield _lock(file, fcntl.LOCK_EX)


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Wait until no other process is within this for the same folder, where its file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_claimed(results: Path, run_id: str) -> bool:
    """Return whether a process is at work on a run; reads only, and neither follows links nor waits."""
    try:
        descriptor = os.open(log_path(results, run_id), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _lock(file: IO[bytes] | int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def append(results: Path, run_id: str, sentence: str) -> None:
    """Add a line to the log of a run, as the run itself would."""
    path = log_path(results, run_id)
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(f"{datetime.now(UTC).strftime(TIME_FORMAT)} {sentence}\n")


def last_lines(results: Path, run_id: str, num_lines: int) -> list[str]:
    """Return the end of the log of a run, without empty lines."""
    lines = log_path(results, run_id).read_text(errors="replace").splitlines()
    return [line for line in lines if line.strip()][-num_lines:]
