"""Errors in a memory, told by what it was asked for and the line that they come from."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

from architectures import ARCHITECTURES
from membench.errors import InputError


def describe_error(error: Exception) -> str:
    """Return an error's type and text, and the line of the memory that it comes from."""
    text = shorten(str(error), 240, placeholder=" ...").rstrip(".")
    return f"{type(error).__name__}: {text}{name_line(traceback.extract_tb(error.__traceback__))}"


def name_line(frames: traceback.StackSummary) -> str:
    """Return the last line that is neither PyTorch's nor ours, in brackets; nothing if there is none."""
    own = frames_of_memory(frames)
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def frames_of_memory(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """Return the frames that are neither PyTorch's nor ours, the innermost last."""
    import torch  # here, for what lists memories needs none

    apart = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
    return [frame for frame in frames if not frame.filename.startswith(apart)]


@contextmanager
def blaming_memory(architecture: str) -> Iterator[None]:
    """Take errors for faults of the memory, unless it is a built-in one: then they are ours.

    Raises:
        InputError: naming the memory, its method and the line, for any other error.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if architecture in ARCHITECTURES:
            raise
        own = frames_of_memory(traceback.extract_tb(error.__traceback__))
        what = f"{own[0].name} raised" if own else "what it returned raised"
        raise InputError(
            f"memory of {architecture!r}: {what} {describe_error(error)}; "
            f"membench check {architecture} says which laws it breaks"
        ) from error
