"""Notes that runs under way leave of how far they are: `progress/ID.json` under a results folder."""

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from membench import logs
from membench.config import Fraction, NonNegativeInt, PositiveInt
from membench.errors import InputError
from membench.folders import atomic_writer
from membench.untrusted import decode, read_file

if TYPE_CHECKING:
    from membench.training import Progress

NOTE_SECONDS = 0.5
"""Time between two notes of a run."""

LONGEST_SILENCE = 300
"""Seconds since the latest note of a run on another machine after which it is taken for dead. Notes come with
every update; the longest updates, at horizons of tens of thousands, take minutes."""


class Note(Struct, frozen=True, kw_only=True):
    """What a run under way has noted of its progress; the fields of `training.Progress`, and where it is."""

    steps: NonNegativeInt
    total_timesteps: PositiveInt
    horizon: NonNegativeInt
    success: Fraction | None = None
    train_success: Fraction | None = None
    kernel: str = ""
    """What `this_kernel` says on the machine of the run."""


def progress_path(results: Path, run_id: str) -> Path:
    """Return where a run under way notes how far it is."""
    return results / "progress" / f"{run_id}.json"


@contextmanager
def noting_progress(results: Path, run_id: str) -> Iterator[Callable[["Progress"], None]]:
    """Give a function that notes progress on disk, about twice a second; the note is gone afterwards."""
    path, last = progress_path(results, run_id), 0.0
    path.parent.mkdir(exist_ok=True)

    def note(progress: "Progress") -> None:
        nonlocal last
        if time.monotonic() - last >= NOTE_SECONDS:
            last = time.monotonic()
            with atomic_writer(path, survives_crashes=False) as file:
                file.write(msgspec.json.encode(Note(**progress._asdict(), kernel=this_kernel())))

    try:
        yield note
    finally:
        path.unlink(missing_ok=True)


def read_note(results: Path, run_id: str) -> Note | None:
    """Return the latest note of a run; None before its first, and where there is none that can be read."""
    path = progress_path(results, run_id)
    try:
        return decode(read_file(path), Note, str(path), "a note of a run's progress")
    except InputError:
        return None


def notes_of(results: Path) -> tuple[dict[str, Note], list[str]]:
    """Return run id -> note of the runs under way, and a sentence per recent note that cannot be read."""
    found, complaints = {}, []
    for path in sorted((results / "progress").glob("*.json")):
        try:
            note = decode(read_file(path), Note, str(path), "a note of a run's progress")
        except InputError as error:
            if _is_recent(path):
                complaints.append(str(error))
            continue
        if _goes_on(results, path, note):
            found[path.stem] = note
    return found, complaints


def _goes_on(results: Path, path: Path, note: Note) -> bool:
    """Return whether the run that left a note is still under way; the note of one that died stays behind.

    A run under way holds its lock. Another machine's locks may not be seen from here, so that a note from
    there is believed while it is recent.
    """
    return logs.is_claimed(results, path.stem) if note.kernel == this_kernel() else _is_recent(path)


def _is_recent(path: Path) -> bool:
    """Return whether a file is no older than `LONGEST_SILENCE`, nor much younger: clocks may be set back."""
    try:
        return abs(time.time() - path.lstat().st_mtime) <= LONGEST_SILENCE
    except OSError:  # the run has just ended
        return False


@cache
def this_kernel() -> str:
    """Return what tells this machine, since it was started, from others: processes under it share locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        return platform.node()
