"""Files that anyone may have made: read, checked and moved out of the way without trusting them."""

import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from membench.errors import InputError
from membench.validation import explain

SET_ASIDE = "set-aside"
"""Name of the folder, in a results folder, of what was found there and could not be used."""

INNER_FOLDERS = (
    *("runs", "progress", "logs", "checkpoints", SET_ASIDE),
    *("tables", "plots", "tensorboard", "inspect", "compare"),
)
"""Folders that membench writes into, below a results folder."""

Content = TypeVar("Content")


def read_file(path: Path) -> bytes:
    """Return the content of a plain file.

    A link would lead out of a folder that came from somebody else, and a pipe or device would be read for
    ever; neither is opened.

    Raises:
        InputError: naming the file, if it is no plain file or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise InputError(f"{path}: not a plain file, so it is not read")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror})") from error


def decode(content: bytes, schema: type[Content], where: str, what: str) -> Content:
    """Return what JSON holds, checked against `schema`.

    Args:
        content: the JSON.
        schema: a `msgspec.Struct`.
        where: what error messages call its place.
        what: what it should be, as in "a record of membench".

    Raises:
        InputError: naming the place, the key and what is legal.
    """
    try:
        return msgspec.json.decode(content, type=schema)
    except msgspec.ValidationError as error:
        try:
            complaint = explain(error, msgspec.json.decode(content), schema)
        except (msgspec.MsgspecError, RecursionError):  # numbers out of range, which only this decoder minds
            complaint = str(error)
        raise InputError(f"{where}: not {what} ({complaint})") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not {what} ({error})") from None
    except RecursionError:
        raise InputError(f"{where}: not {what} (nested too deeply)") from None


def refuse_links(results: Path) -> None:
    """See that whatever is written below a results folder stays there.

    Raises:
        InputError: naming a link in the place of a folder, or in that of a run's log, note of its progress or
            inspection.
    """
    places = [results / name for name in INNER_FOLDERS]
    for name in ("progress", "logs", "inspect"):
        places += (results / name).glob("*")
    for path in places:
        if path.is_symlink():
            raise InputError(
                f"{path}: a symbolic link, which could lead out of the results folder; put what it leads to "
                "in its place, or remove it"
            )


def new_place(results: Path, name: str) -> Path:
    """Return a path in a results folder's `set-aside/` that nothing lies at yet; makes the folder.

    Raises:
        InputError: if the folder cannot be made.
    """
    folder = results / SET_ASIDE
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot set {name} aside there ({error.strerror})") from error
    number, place = 1, folder / name
    while os.path.lexists(place):
        place, number = folder / f"{name}.{number}", number + 1
    return place
