"""The one exception for a user's mistake, and how a sentence about it is put."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

LONGEST_SHOWN = 80
"""Characters of a value that an error message shows."""


class InputError(ValueError):
    """A mistake in what the user asked for: the command line prints it as one line and exits with 2."""


def unknown_name(what: str, name: str, legal: Iterable[str]) -> InputError:
    """Return the error for a name that is not one of `legal`, with the nearest match if there is one."""
    legal = sorted(legal)
    by_letters = {one.casefold(): one for one in legal}
    nearest = get_close_matches(name.casefold(), by_letters, n=1)
    hint = f"; did you mean {by_letters[nearest[0]]!r}?" if nearest else ""
    return InputError(f"{what} {shown(name)}: unknown{hint} (legal: {', '.join(legal) or 'there is none'})")


def shown(value: Any) -> str:
    """Return a value as an error message shows it, shortened where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def one_line(text: str) -> str:
    """Return text without line breaks, control characters and the like: safe for a terminal, too."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
