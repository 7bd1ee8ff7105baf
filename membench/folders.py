"""A results folder: where the files of its runs lie, and how none of them is ever half written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from membench.errors import InputError
from membench.untrusted import refuse_links


def runs_folder(results: Path) -> Path:
    """Return the folder of a results folder's records."""
    return results / "runs"


def record_path(results: Path, run_id: str) -> Path:
    """Return where the record of `run_id` lies."""
    return runs_folder(results) / f"{run_id}.json"


def weights_path(results: Path, run_id: str) -> Path:
    """Return where the final weights of `run_id` lie."""
    return runs_folder(results) / f"{run_id}.pt"


Stamp: TypeAlias = tuple[int, int]
"""What tells a file from the one that was at its place before: its size and its time of change. Unlike an
inode, they are the same on every machine that sees the file."""


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file, None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


@contextmanager
def atomic_writer(path: Path, *, survives_crashes: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that appears at `path` once it is complete, and on disk if it shall survive a crash."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if survives_crashes:
                os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # readable like any other file, as mkstemp's are not
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_results_folder(results: Path) -> None:
    """Make a results folder and see that records can be written to it.

    Raises:
        InputError: if they cannot.
    """
    make_writable_folder(results)
    runs_folder(results).mkdir(exist_ok=True)
    refuse_links(results)


def make_writable_folder(folder: Path) -> None:
    """Make a folder and see that it can be written to.

    Raises:
        InputError: if it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--out {str(folder)!r}: cannot write there ({error.strerror})") from error
