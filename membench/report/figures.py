"""A frame of runs -> the figures of a report."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from membench import stats
from membench.report import text
from membench.report.capacity import capacity_figure
from membench.report.differences import SIZE
from membench.report.frame import (
    cell_names,
    cells,
    censored_at,
    differ_by_horizon_only,
    is_ladder,
    is_lost,
    median_time,
    success_by_seed,
    varies_in_what_is_shown,
)
from membench.report.frontier import frontier_figure
from membench.report.generalisation import generalisation_figure, has_other_horizons
from membench.report.looks import Look, looks
from membench.report.overall import profiles_figure, profiles_grid, ranking_figure
from membench.report.panels import (
    WIDTH,
    CellAxis,
    chance_line,
    chance_note,
    cross_out,
    in_lines,
    large_numbers,
    legend,
    log_ticks,
    lost_note,
    note,
    say_nothing_here,
)
from membench.report.pareto import has_prices, pareto_figure
from membench.report.ranking import has_ranking
from membench.report.rows import (
    are_many,
    learning_curves_grid,
    steps_to_solved_rows_figure,
    success_rows_figure,
)

CURVES_PER_ROW = 3
LETTERS_OVER_CURVES = 66
"""Letters that fit into the titles of a row of panels, beside the widest legend."""


def success_figure(frame: pd.DataFrame) -> Figure:
    """Success by cell: every seed, the means, and intervals where they can be computed."""
    found = looks(frame.architecture)
    axis = CellAxis(frame, found)
    figure = Figure(figsize=(WIDTH, 3.2 + axis.labels_height))
    axes = figure.subplots()
    chance_line(axes, frame)
    means: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for cell in cells(frame):
        look, success = found[cell.architecture], cell.runs.counted_success
        centre, places = axis.centre(cell), axis.spread(cell)
        axes.plot(places, success, look.marker, color=look.colour, alpha=0.6, markeredgewidth=0)
        cross_out(axes, places, success, is_lost(cell.runs))
        means[cell.architecture].append((axis.joint(cell), float(success.mean())))
        if interval := stats.bootstrap_interval(success_by_seed(cell.runs)):
            axes.vlines(centre, *interval, color=look.colour, linewidth=2.2)
    _join(axes, axis, means, found)
    axes.set(ylim=(-0.03, 1.05), ylabel="success (share of right answers)")
    axis.label(axes)
    axes.set_xlabel(axis.title)
    legend(figure, found.values(), [chance_note(), *lost_note(frame)])
    return figure


def steps_to_solved_figure(frame: pd.DataFrame) -> Figure:
    """Steps and seconds to solved by cell; a hollow marker is a run that was not solved by then."""
    found = looks(frame.architecture)
    axis = CellAxis(frame, found)
    # Horizons are short names. Others take the whole width, with one panel over the other.
    figure = Figure(figsize=(WIDTH, (3.2 if axis.is_scale else 4.6) + axis.labels_height))
    panels = figure.subplots(1, 2) if axis.is_scale else figure.subplots(2, 1, sharex=True)
    for axes, unit in zip(panels, ("steps", "seconds"), strict=True):
        _times_panel(axes, axis, frame, found, unit)
    figure.supxlabel(axis.title, fontsize="medium")
    any_unsolved = bool((frame.status == "unsolved").any())
    hollow = [note("not solved by then", marker="o", markerfacecolor="none")] * any_unsolved
    legend(figure, found.values(), [*hollow, *lost_note(frame)])
    return figure


def _times_panel(axes: Axes, axis: CellAxis, frame: pd.DataFrame, found: dict[str, Look], unit: str) -> None:
    medians: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for cell in cells(frame):
        look, times = found[cell.architecture], cell.runs[f"{unit}_to_solved"]
        places = axis.spread(cell)
        bounds = censored_at(cell.runs, unit).where(times.isna())
        axes.plot(places, times, look.marker, color=look.colour, alpha=0.6, markeredgewidth=0)
        axes.plot(places, bounds, look.marker, color=look.colour, markerfacecolor="none", markeredgewidth=0.8)
        never = places[np.isinf(bounds)]
        axes.plot(never, np.full(len(never), 0.98), "x", color="black", transform=axes.get_xaxis_transform())
        median = median_time(cell.runs, "solved", unit)
        is_seen = not median.is_lower_bound and np.isfinite(median.value)
        medians[cell.architecture].append((axis.joint(cell), median.value if is_seen else np.nan))
    _join(axes, axis, medians, found)
    axis.label(axes)
    axes.set_ylabel(f"{unit} to solved")
    if is_lost(frame).all():
        axes.set_yticks([])
        say_nothing_here(axes, "every run diverged or failed")
    else:
        _time_axis(axes)


def _time_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.margins(y=0.1)  # room for the crosses at the upper edge
    low, high = axes.get_ylim()
    widening = max(1.0, (5 * low / high) ** 0.5)  # a factor of 5 holds two ticks at least
    axes.set_ylim(low / widening, high * widening)
    log_ticks(axes.yaxis)


def learning_curves_figure(frame: pd.DataFrame) -> Figure:
    """Greedy success against training steps, a panel per cell, a line per run."""
    found = looks(frame.architecture)
    names = cell_names(frame)
    prefix = "horizon " if differ_by_horizon_only(frame) else ""
    num_columns = min(CURVES_PER_ROW, len(names))
    num_rows = -(-len(names) // num_columns)
    figure = Figure(figsize=(WIDTH, 0.6 + 2.2 * num_rows))
    grid = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _curves_panel(axes, frame.loc[frame.cell == name], found)
        axes.set_title(in_lines(f"{prefix}{name}", LETTERS_OVER_CURVES // num_columns))
    for axes in grid.flat[len(names) :]:
        axes.remove()
    figure.supxlabel("training steps", fontsize="medium")
    figure.supylabel("success (greedy)", fontsize="medium")
    legend(figure, found.values(), [chance_note(), *lost_note(frame)])
    return figure


def _curves_panel(axes: Axes, runs: pd.DataFrame, found: dict[str, Look]) -> None:
    chance_line(axes, runs)
    for architecture, curve, lost in zip(runs.architecture, runs.curve, is_lost(runs), strict=True):
        look = found[architecture]
        steps, success = [point.steps for point in curve], [point.success for point in curve]
        axes.plot(steps, success, color=look.colour, linestyle=look.line, linewidth=0.8, alpha=0.7)
        axes.plot(steps[-1:], success[-1:], look.marker, color=look.colour, markersize=3)
        cross_out(axes, steps[-1:], success[-1:], [lost] * len(steps[-1:]))
    axes.set(ylim=(-0.03, 1.05))
    if runs.curve.map(len).any():
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        large_numbers(axes.xaxis)
    else:
        axes.set_xticks([])
        say_nothing_here(axes, "no evaluations")


def cost_figure(frame: pd.DataFrame) -> Figure:
    """Training speed in one cell, every run and the median; and parameters.

    The cell is the last of those in which most memories were measured.
    """
    found = looks(frame.architecture)
    measured = frame.loc[frame.steps_per_second.notna()].groupby("cell").architecture.nunique()
    cell = max(reversed(cell_names(frame)), key=lambda name: measured.get(name, 0))
    where = f"at horizon {cell}" if differ_by_horizon_only(frame) else f"({in_lines(cell, 45)})"
    figure = Figure(figsize=(WIDTH, 1.0 + 0.32 * len(found)))
    speed, parameters = figure.subplots(1, 2, sharey=True)
    for place, (name, look) in enumerate(found.items()):
        runs = frame.loc[frame.architecture == name]
        there = runs.loc[runs.cell == cell]
        _bar(speed, place, there.steps_per_second.dropna(), look, "not measured" if len(there) else "not run")
        sizes = runs.parameters.dropna()
        if SIZE.order(sizes.max(), sizes.min()):
            _range(parameters, place, sizes, look)
        else:
            _bar(parameters, place, sizes, look)
    speed.set_yticks(range(len(found)), [look.name for look in found.values()])
    speed.set_ylim(len(found) - 0.4, -0.6)  # the first on top
    speed.set_xlabel(f"training steps per second\n{where}")
    speed.annotate("median", (1, 1), (5, 0), xycoords="axes fraction", textcoords="offset points", fontsize=8)
    parameters.set_xlabel("trainable parameters")
    for axes in (speed, parameters):
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        if not axes.has_data():
            axes.set_xticks([])
            continue
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        large_numbers(axes.xaxis)
    return figure


def _bar(axes: Axes, place: int, values: pd.Series, look: Look, if_none: str = "not measured") -> None:
    """Draw the median as a bar and as a number, and each value as a stroke where they differ."""
    if len(values):
        axes.barh(place, values.median(), height=0.62, color=look.colour, alpha=0.8)
    if len(set(values)) > 1:
        axes.plot(values, np.full(len(values), place), "|", color="black", markersize=6)
    _beside(axes, place, text.rounded(values.median()) if len(values) else if_none)


def _range(axes: Axes, place: int, values: pd.Series, look: Look) -> None:
    """Draw each value as a stroke, and name the least and the most: their median is no agent's."""
    axes.plot(values, np.full(len(values), place), "|", color=look.colour, markersize=9, markeredgewidth=1.5)
    _beside(axes, place, f"{text.rounded(values.min())} to {text.rounded(values.max())}")


def _beside(axes: Axes, place: int, label: str) -> None:
    """Write right of a panel, where it cannot be taken for the value of a stroke."""
    axes.annotate(
        label,
        (1, place),
        (5, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _join(
    axes: Axes, axis: CellAxis, points: dict[str, list[tuple[float, float]]], found: dict[str, Look]
) -> None:
    """Mark one value per cell with a dash; join each architecture's along horizons, with gaps at NaN."""
    for name, places in points.items():
        look = found[name]
        line = look.line if axis.is_scale else "none"
        (drawn,) = axes.plot(*zip(*places, strict=True), "_", color=look.colour, markersize=8, zorder=1)
        drawn.set(linestyle=line, linewidth=1)


Draw = Callable[[pd.DataFrame], Figure]
"""Tidy frame with at least one run -> figure."""


def figures_for(frame: pd.DataFrame) -> dict[str, Draw]:
    """Return the plots that suit a tidy frame with at least one run, by name."""
    if is_ladder(frame):
        return {"frontier": frontier_figure, "cost": cost_figure}
    if varies_in_what_is_shown(frame):
        by_cell: dict[str, Draw] = {"capacity": capacity_figure}
    elif are_many(frame):
        by_cell = {"success": success_rows_figure, "steps_to_solved": steps_to_solved_rows_figure}
    else:
        by_cell = {"success": success_figure, "steps_to_solved": steps_to_solved_figure}
    if has_other_horizons(frame):
        by_cell["generalisation"] = generalisation_figure
    learning_curves = learning_curves_grid if are_many(frame) else learning_curves_figure
    found = by_cell | {"learning_curves": learning_curves, "cost": cost_figure}
    if has_ranking(frame):
        found["ranking"] = ranking_figure
    if len(set(frame.architecture)) > 1:
        found["profiles"] = profiles_grid if are_many(frame) else profiles_figure
    if has_prices(frame):
        found["pareto"] = pareto_figure
    return found
