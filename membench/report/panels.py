"""Pieces of figures: an axis of cells on which no two runs hide each other, and what goes beside a plot."""

import textwrap
from collections.abc import Iterable, Sized
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from membench.report import text
from membench.report.frame import Cell, cell_heading, cell_names, differ_by_horizon_only, is_lost
from membench.report.looks import Look

WIDTH = 7.0
"""Inches: the width of a page of text."""

COLUMN = 3.35
"""Inches: the width of one of two columns."""

STYLE = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.wspace": 0.06,
    "savefig.dpi": 200,
    "text.parse_math": False,  # a $ in a name is a $
    "svg.hashsalt": "membench",  # else element names in an SVG are random
}
"""Settings of matplotlib for every figure, over its defaults."""

GREY = "#777777"

SIZE_OF_NAMES = 7
"""Points: the letters of a cell's name, where it is more than a horizon."""

LETTER, LINE = 0.05, 0.135
"""Inches: the width of such a letter, with room to spare, and the height of a line of them."""

CELLS_WIDTH = 4.75
"""Inches: the width of all cells of a figure, beside the widest legend."""

MOST_SHIFT = 0.1
"""Octaves by which a marker may stand beside its horizon: 7 %."""


class CellAxis:
    """Places along an axis of cells: each cell has a slot per memory, each seed a place in its slot.

    Horizons stand on a logarithmic axis, 0 one octave left of 1, and all slots of one close around it; other
    cells stand side by side, and their slots fill them.
    """

    def __init__(self, frame: pd.DataFrame, architectures: Iterable[str]):
        names = cell_names(frame)
        self.is_scale = differ_by_horizon_only(frame)
        unit = " (steps between cue and query)" * self.is_scale
        self.title = cell_heading(frame).lower() + unit
        self.centres = {
            name: float(np.log2(max(int(name), 0.5))) if self.is_scale else float(place)
            for place, name in enumerate(names)
        }
        gaps = np.diff(list(self.centres.values()))
        width = 0.84 * (gaps.min() if len(gaps) else 1.0)
        if self.is_scale:
            width = min(width, 2 * MOST_SHIFT)
        self.is_upright, self.labels = (False, names) if self.is_scale else _labels(names)
        lines = [line for label in self.labels for line in label.split("\n")]
        most_lines = max(label.count("\n") + 1 for label in self.labels)
        self.labels_height = LETTER * max(map(len, lines)) if self.is_upright else LINE * most_lines
        memories = list(architectures)
        self.slot = width / len(memories)
        self.offsets = {
            name: (place - (len(memories) - 1) / 2) * self.slot for place, name in enumerate(memories)
        }

    def centre(self, cell: Cell) -> float:
        """Return the middle of a cell's slot."""
        return self.centres[cell.name] + self.offsets[cell.architecture]

    def joint(self, cell: Cell) -> float:
        """Return where a line through an architecture's cells passes one: at its very horizon."""
        return self.centres[cell.name] if self.is_scale else self.centre(cell)

    def spread(self, cell: Cell) -> np.ndarray:
        """Return a place for each of a cell's runs, side by side in its slot."""
        num_runs = len(cell.runs)
        places = (np.arange(num_runs) - (num_runs - 1) / 2) / max(num_runs, 1)
        return self.centre(cell) + 0.9 * self.slot * places

    def label(self, axes: Axes) -> None:
        """Write the cells' names under `axes`, with a faint line between neighbours."""
        places = list(self.centres.values())
        axes.set_xticks(places, self.labels)
        if not self.is_scale:
            axes.tick_params(axis="x", length=0, rotation=90 * self.is_upright, labelsize=SIZE_OF_NAMES)
        edge = 0.5 * (min(np.diff(places)) if len(places) > 1 else 1.0)
        axes.set_xlim(places[0] - edge, places[-1] + edge)
        for left, right in pairwise(places):
            axes.axvline((left + right) / 2, color="#E4E4E4", linewidth=0.6, zorder=0)


def _labels(names: list[str]) -> tuple[bool, list[str]]:
    """Return whether cells' names stand upright, as they do if a word is wider than a cell, and the lines."""
    width = CELLS_WIDTH / len(names)
    room = int(width / LETTER) - 1  # a space between neighbours
    if max(len(word) for name in names for word in name.split()) <= room:
        return False, ["\n".join(in_lines(part, room) for part in name.split(", ")) for name in names]
    most_lines = max(1, int(width / LINE))
    return True, [_in_few_lines(name, most_lines) for name in names]


def _in_few_lines(name: str, most_lines: int) -> str:
    found = (in_lines(name, letters) for letters in range(1, len(name) + 2))
    return next(lines for lines in found if lines.count("\n") < most_lines)


def in_lines(name: str, letters: int) -> str:
    """Return a cell's name in lines of at most `letters` if it can be: broken between parts, else words."""
    parts = name.split(", ")
    kept = [part if len(part) >= letters else part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts]
    lines = textwrap.wrap(", ".join(kept), letters, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def legend(figure: Figure, found: Iterable[Look], notes: Iterable[Line2D] = ()) -> None:
    """Put the architectures, and what else markers mean, to the right of the plots."""
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=look.name)
        for look in found
    ]
    figure.legend(handles=[*handles, *notes], loc="outside right upper")


def legend_height(found: Sized, least: float) -> float:
    """Return the height of a figure in inches, `least` or what a line of legend per architecture takes."""
    return max(least, 0.7 + 0.17 * len(found))


def note(label: str, **appearance: Any) -> Line2D:
    """Return a line of the legend that explains a marker or line."""
    defaults: dict[str, Any] = {"color": GREY, "linestyle": "none"}
    return Line2D([], [], label=label, **defaults | appearance)


def chance_line(axes: Axes, frame: pd.DataFrame) -> None:
    """Draw what an agent without a memory can expect."""
    for chance in sorted(set(frame.chance)):
        axes.axhline(chance, color=GREY, linestyle="--", linewidth=0.8)


def chance_note() -> Line2D:
    """Return the line of the legend that explains `chance_line`."""
    return note("chance", linestyle="--", linewidth=0.8)


def large_numbers(axis: Axis) -> None:
    """Write 4000 as 4k along an axis."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: text.rounded(value).replace(".0", "")))


def say_nothing_here(axes: Axes, why: str) -> None:
    """Write in an empty panel why it is empty."""
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=GREY)


def log_ticks(axis: Axis) -> None:
    """Mark 1, 2 and 5 times the powers of ten, for a logarithmic axis of large numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_formatter(NullFormatter())
    large_numbers(axis)


def cross_out(axes: Axes, places: ArrayLike, values: ArrayLike, lost: ArrayLike) -> None:
    """Put a cross over those of some points whose runs were lost."""
    chosen = np.asarray(lost, dtype=bool)
    axes.plot(np.asarray(places)[chosen], np.asarray(values)[chosen], "x", color="black", zorder=5)


def lost_note(frame: pd.DataFrame) -> list[Line2D]:
    """Return what a legend says of crosses, if a run was lost."""
    return [note("diverged or failed", marker="x", color="black")] * bool(is_lost(frame).any())
