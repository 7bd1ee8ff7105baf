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

LETTERS_ACROSS = {1: 100, 2: 38}
"""Letters that fit under all cells of a figure of so many panels side by side."""

LEAST_LETTERS = 9
"""Fewer per cell, and names stand upright."""


class CellAxis:
    """Places along an axis of cells: each cell has a slot per memory, each seed a place in its slot.

    Horizons stand on a logarithmic axis, 0 one octave left of 1; other cells side by side.
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
        memories = list(architectures)
        self.slot = width / len(memories)
        self.offsets = {
            name: (place - (len(memories) - 1) / 2) * self.slot for place, name in enumerate(memories)
        }

    def centre(self, cell: Cell) -> float:
        """Return the middle of a cell's slot."""
        return self.centres[cell.name] + self.offsets[cell.architecture]

    def spread(self, cell: Cell) -> np.ndarray:
        """Return a place for each of a cell's runs, side by side in its slot."""
        num_runs = len(cell.runs)
        places = (np.arange(num_runs) - (num_runs - 1) / 2) / max(num_runs, 1)
        return self.centre(cell) + 0.9 * self.slot * places

    def label(self, axes: Axes) -> None:
        """Write the cells' names under `axes`, with a faint line between neighbours."""
        places = list(self.centres.values())
        gridspec = axes.get_gridspec()
        room = LETTERS_ACROSS[gridspec.ncols if gridspec else 1] // len(places)
        if self.is_scale or room >= LEAST_LETTERS:
            names = [
                "\n".join(textwrap.fill(part, max(room, LEAST_LETTERS)) for part in name.split(", "))
                for name in self.centres
            ]
            axes.set_xticks(places, names)
        else:
            axes.set_xticks(places, [name.replace(", ", "\n") for name in self.centres], rotation=90)
        axes.tick_params(axis="x", length=0)
        margin = 0.65 * len(self.offsets) * self.slot
        axes.set_xlim(places[0] - margin, places[-1] + margin)
        for left, right in pairwise(places):
            axes.axvline((left + right) / 2, color="#E4E4E4", linewidth=0.6, zorder=0)


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
