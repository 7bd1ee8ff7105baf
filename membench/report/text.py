"""Numbers and names as text for people, and tables as Markdown."""

import math
import re
from collections.abc import Callable, Sequence

import pandas as pd
from tabulate import tabulate

from membench.errors import one_line
from membench.stats import Interval, MedianTime

NOTHING = "—"
"""Stands where there is no value."""


def count(value: float) -> str:
    """Return a whole number with thousands separated, as in 12,345."""
    return NOTHING if math.isnan(value) else f"{value:,.0f}"


def share(value: float) -> str:
    """Return a fraction with two digits, as in 0.98."""
    return NOTHING if math.isnan(value) else f"{value:z.2f}"  # z: no minus before a zero


def tenths(value: float) -> str:
    """Return a number with one decimal, as in 7.9."""
    return NOTHING if math.isnan(value) else f"{value:.1f}"


def seconds(value: float) -> str:
    """Return seconds without their unit, to a tenth below 10."""
    return NOTHING if math.isnan(value) else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def rounded(value: float, units: tuple[str, ...] = ("", "k", "M", "G")) -> str:
    """Return a large number with about two digits and a unit of thousands, as in 3.4k or 27k."""
    if math.isnan(value):
        return NOTHING
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.1f}{units[power]}" if power and value < 9.95 else f"{value:.0f}{units[power]}"


def two_digits(value: float) -> str:
    """Return a number of any magnitude with two digits, as in 0.34 or 3.4e-05."""
    return NOTHING if math.isnan(value) else f"{value:.2g}"


def size(num_bytes: float) -> str:
    """Return a number of bytes, as in 33 kB."""
    return rounded(num_bytes, (" B", " kB", " MB", " GB"))


def signed(value: float) -> str:
    """Return a difference with its sign and two digits, as in +0.12."""
    return NOTHING if math.isnan(value) else f"{value:+.2f}"


def interval(found: Interval) -> str:
    """Return an interval, as in 0.91–1.00, or -0.02 to 0.10."""
    return f"{found.low:.2f} to {found.high:.2f}" if found.low < 0 else f"{found.low:.2f}–{found.high:.2f}"


def time(median: MedianTime, unit: Callable[[float], str] = count) -> str:
    """Return a median time in `unit`s, with > where it is only known to be larger, or never."""
    if math.isinf(median.value):
        return "never"
    return f"> {unit(median.value)}" if median.is_lower_bound else unit(median.value)


def listed(names: Sequence[str]) -> str:
    """Return names as people list them, as in GRU, LSTM and Mamba."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def time_interval(found: Interval) -> str:
    """Return the interval of a median time, as in 4,000–8,000, or from 4,000 where it has no upper end."""
    if not math.isfinite(found.low):
        return NOTHING
    return f"from {count(found.low)}" if math.isinf(found.high) else f"{count(found.low)}–{count(found.high)}"


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is: on one line, no markup, no HTML, no end of a table cell."""
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", one_line(text).replace("&", "&amp;").replace("<", "&lt;"))


def is_of_numbers(column: pd.Series) -> bool:
    """Return whether a column of text holds numbers, and so is aligned right; "1. Cue" is none."""
    return len(column) > 0 and all(
        re.match(rf"(> )?\d+(?!\d|\. )|never$|{NOTHING}$", cell) for cell in column
    )


def to_latex(shown: pd.DataFrame) -> str:
    """Return a table of strings as LaTeX, for the package booktabs; cells are text and nothing else."""
    one_lined = shown.map(one_line).rename(columns=one_line)
    return tabulate(
        one_lined, list(one_lined.columns), "latex_booktabs", showindex=False, disable_numparse=True
    )


def to_markdown(shown: pd.DataFrame) -> str:
    """Return a table of strings as Markdown, columns of numbers aligned right."""
    cells = [[escape_markdown(cell) for cell in row] for row in shown.itertuples(index=False)]
    headings = [escape_markdown(heading) for heading in shown.columns]
    alignment = ["right" if is_of_numbers(column) else "left" for _, column in shown.items()]
    return tabulate(cells, headings, tablefmt="pipe", colalign=alignment, disable_numparse=True)
