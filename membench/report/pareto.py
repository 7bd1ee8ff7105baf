"""What success costs: which memories no other beats in success at the same price or less."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from membench.report import text
from membench.report.differences import EXACT, SIZE, SPEED, SUCCESS, Tolerance
from membench.report.frame import cell_names, num_solved, varying_settings
from membench.report.looks import Look, display_name, looks
from membench.report.overall import of_few_seeds
from membench.report.panels import (
    WIDTH,
    chance_line,
    chance_note,
    large_numbers,
    legend,
    legend_height,
    note,
)
from membench.report.ranking import ranking_table
from membench.report.tables import Table

FRONT = "#222222"

PRICES = {
    "seconds_per_million_steps": "seconds per\nmillion training steps",
    "parameters": "trainable\nparameters",
    "state_bytes": "state per environment\n(bytes)",
}
"""Column of `pareto_table` -> what its axis is called."""

TOLERANCES = {"seconds_per_million_steps": SPEED, "parameters": SIZE, "state_bytes": EXACT}
"""Column of `pareto_table` -> within what two memories have the same price."""


def pareto_table(frame: pd.DataFrame) -> Table:
    """Return success beside three prices by memory, and in which of them it stands on the front.

    Success is the interquartile mean over all cells; prices are medians in the last cell, which is the
    longest task. A memory is on the front if no other has at least its success for at most its price, and is
    better in one of the two by more than the tolerance. A run that is shown the cue again is no competitor,
    nor is a memory that lacks runs in some cell: its success is over other tasks.
    """
    last = frame.loc[frame.cell == cell_names(frame)[-1]]
    ranked = ranking_table(frame).values.set_index("architecture")
    rows = []
    for name in dict.fromkeys(frame.architecture):
        runs = last.loc[last.architecture == name]
        medians = runs[["steps_per_second", "parameters", "state_bytes"]].median()
        speed = medians.pop("steps_per_second")
        success = ranked.loc[name, ["interquartile_mean", "interval_low", "interval_high"]].to_dict()
        prices = {"seconds_per_million_steps": 1e6 / speed if speed > 0 else math.nan}
        rows.append({"architecture": name} | success | prices | medians.to_dict())
    values = pd.DataFrame(rows)
    privileged = set(frame.architecture[frame.reveal_cue.astype(bool)])
    excluded = privileged | not_in_every_cell(frame)
    for price, tolerance in TOLERANCES.items():
        competes = ~values.architecture.isin(excluded) & values[price].notna()
        chosen = values.loc[competes]
        unbeaten = front(chosen[price], chosen.interquartile_mean, tolerance)
        on_front = pd.Series(unbeaten, chosen.index, dtype=bool)
        values[f"on_front_of_{price}"] = on_front.reindex(values.index, fill_value=False)
    shown = {
        "Memory": values.architecture.map(display_name),
        "Interquartile mean": values.interquartile_mean.map(text.share),
        "Seconds per million steps": values.seconds_per_million_steps.map(text.count),
        "Parameters": values.parameters.map(text.count),
        "State per environment": values.state_bytes.map(text.size),
        "Not beaten at its price in": [_unbeaten_in(row) for row in values.to_dict("records")],
    }
    return Table(values, pd.DataFrame(shown, dtype=str))


def has_prices(frame: pd.DataFrame) -> bool:
    """Return whether success over all cells of a tidy frame can stand beside the price in the last one.

    It cannot with one memory, nor if none has runs in every cell, nor if no run was solved: nobody pays for
    chance. Nor where settings tell cells apart: the last cell is one of those settings.
    """
    names = set(frame.architecture)
    compares = len(names) > 1 and not_in_every_cell(frame) < names and not varying_settings(frame)
    return compares and num_solved(frame) > 0


def not_in_every_cell(frame: pd.DataFrame) -> set[str]:
    """Return the memories of a tidy frame that lack runs in some cell."""
    num_cells = frame.groupby("architecture").cell.nunique()
    return set(num_cells.index[num_cells < frame.cell.nunique()])


def _unbeaten_in(row: dict) -> str:
    names = {"seconds_per_million_steps": "time", "parameters": "parameters", "state_bytes": "state"}
    return ", ".join(name for price, name in names.items() if row[f"on_front_of_{price}"]) or text.NOTHING


def front(prices: Sequence[float], successes: Sequence[float], tolerance: Tolerance) -> list[bool]:
    """Return which points no other one beats: none is as cheap and as good, and better in one of the two.

    Args:
        prices: a price per point, in any unit.
        successes: as many shares of right answers; alike within `differences.SUCCESS`.
        tolerance: within what two prices are alike.
    """
    points = list(zip(prices, successes, strict=True))

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        dearer, better = tolerance.order(one[0], other[0]), SUCCESS.order(one[1], other[1])
        return dearer <= 0 <= better and dearer != better

    return [not any(beats(other, point) for other in points) for point in points]


def pareto_figure(frame: pd.DataFrame) -> Figure:
    """Success against training time, parameters and state, a point per memory, and the front of each.

    Memories that all have as many parameters, as matched ones have, need no panel of them.
    """
    found, values = looks(frame.architecture), pareto_table(frame).values
    points = {name: of_few_seeds(runs) for name, runs in frame.groupby("architecture", sort=False)}
    figure = Figure(figsize=(WIDTH, legend_height(found, 3.0)))
    are_of_one_size = not SIZE.order(values.parameters.max(), values.parameters.min())
    shown = {price: label for price, label in PRICES.items() if price != "parameters" or not are_of_one_size}
    panels = figure.subplots(1, len(shown), sharey=True)
    for axes, (price, label) in zip(panels, shown.items(), strict=True):
        chance_line(axes, frame)
        for row in values.to_dict("records"):
            name = row["architecture"]
            _point(axes, max(row[price], 1.0), row, found[name], points[name])
        axes.set_xlabel(label)
        _price_axis(axes)
        _front(axes, values, price)
    panels[0].set(ylim=(-0.03, 1.05), ylabel="success, interquartile mean")
    notes = [note("best at its price", linestyle="-", linewidth=1, color=FRONT), chance_note()]
    notes += [note("one run, of few seeds", marker="_", markersize=7)] * any(points.values())
    priced = set(values.architecture[values[list(PRICES)].notna().any(axis=1)])
    partial = not_in_every_cell(frame)
    entries = [_entry(look, name in priced, name in partial) for name, look in found.items()]
    legend(figure, entries, notes)
    return figure


def _entry(look: Look, has_point: bool, is_partial: bool) -> Look:
    """Return how the legend shows a memory: prices are taken in the last cell, and success is over all."""
    if not has_point:
        return look._replace(name=f"{look.name}: no price in the last cell", marker="", line="none")
    suffix = ": not in every cell" if is_partial else ""
    return look._replace(name=look.name + suffix, line="none")


def _point(axes: Axes, price: float, row: dict, look: Look, runs: list[float]) -> None:
    axes.plot(price, row["interquartile_mean"], look.marker, color=look.colour, markersize=5.5)
    if not math.isnan(row["interval_low"]):
        axes.vlines(price, row["interval_low"], row["interval_high"], color=look.colour, linewidth=1.5)
    axes.plot([price] * len(runs), runs, "_", color=look.colour, alpha=0.5, markersize=7)


def _front(axes: Axes, values: pd.DataFrame, price: str) -> None:
    """Draw the highest success that can be had for a price; it stays what it is beyond the dearest on it."""
    points = values.loc[values[f"on_front_of_{price}"]].sort_values(price)
    if points.empty:
        return
    # Of two alike, the dearer may have a little less success.
    prices, success = points[price].clip(lower=1.0).tolist(), points.interquartile_mean.cummax().tolist()
    end = axes.get_xlim()[1]
    axes.step([*prices, end], [*success, *success[-1:]], where="post", color=FRONT, linewidth=1, zorder=1)
    axes.set_xlim(right=end)


def _price_axis(axes: Axes) -> None:
    """Write a logarithmic axis that shows at least a factor of ten, with few numbers."""
    if not np.isfinite(axes.dataLim.x0):
        return
    axes.set_xscale("log")
    axes.margins(x=0.12)
    low, high = axes.get_xlim()
    widening = max(1.0, (10 * low / high) ** 0.5)
    axes.set_xlim(low / widening, high * widening)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high < 1000 * low else (1,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    large_numbers(axes.xaxis)
