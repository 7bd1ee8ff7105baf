"""Figures of many memories: a row or a panel per memory, for there are more than colours can tell apart."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from membench import stats
from membench.report.frame import (
    cell_heading,
    cell_names,
    censored_at,
    differ_by_horizon_only,
    is_lost,
    median_time,
    success_by_seed,
)
from membench.report.looks import MOST_COLOURS, Look, looks
from membench.report.panels import (
    GREY,
    WIDTH,
    chance_line,
    chance_note,
    cross_out,
    large_numbers,
    log_ticks,
    lost_note,
    note,
)

BLUE = "#0072B2"
PANELS_PER_ROW = 4
LINE_STYLES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 3)))


def are_many(frame: pd.DataFrame) -> bool:
    """Return whether a frame holds more memories than a legend of colours serves."""
    return frame.architecture.nunique() > MOST_COLOURS


def success_rows_figure(frame: pd.DataFrame) -> Figure:
    """Success, a row per memory and a panel per cell: seeds, means, and intervals where there are any."""
    figure, panels, found = _rows(frame, "success (share of right answers)")
    for axes, name in panels.items():
        here = frame.loc[frame.cell == name]
        for chance in sorted(set(here.chance)):
            axes.axvline(chance, color=GREY, linestyle="--", linewidth=0.8)
        for place, architecture in enumerate(found):
            runs = here.loc[here.architecture == architecture]
            heights = _side_by_side(place, len(runs))
            _dots(axes, runs.counted_success, heights, is_lost(runs).to_numpy())
            if len(runs):
                _stroke(axes, runs.counted_success.mean(), place)
            if interval := stats.bootstrap_interval(success_by_seed(runs)):
                axes.hlines(place, *interval, color="black", linewidth=1.2)
        axes.set_xlim(-0.03, 1.05)
    notes = [_seed_note(), note("mean", marker="|", markersize=9, color="black"), chance_note()]
    figure.legend(handles=[*notes, *lost_note(frame)], loc="outside upper right", ncols=4)
    return figure


def steps_to_solved_rows_figure(frame: pd.DataFrame) -> Figure:
    """Steps to solved, a row per memory and a panel per cell; hollow is a run that was not solved by then."""
    figure, panels, found = _rows(frame, "training steps to solved")
    for axes, name in panels.items():
        here = frame.loc[frame.cell == name]
        for place, architecture in enumerate(found):
            runs = here.loc[here.architecture == architecture]
            heights, steps = _side_by_side(place, len(runs)), runs.steps_to_solved
            _dots(axes, steps, heights, is_lost(runs).to_numpy())
            bounds = censored_at(runs, "steps").where(steps.isna())
            axes.plot(bounds, heights, "o", color=BLUE, markerfacecolor="none", markeredgewidth=0.8)
            never = heights[np.isinf(bounds)]
            axes.plot(
                np.full(len(never), 0.98), never, "x", color="black", transform=axes.get_yaxis_transform()
            )
            median = median_time(runs, "solved", "steps")
            if len(runs) and not median.is_lower_bound and np.isfinite(median.value):
                _stroke(axes, median.value, place)
        axes.set_xscale("log")
        axes.margins(x=0.08)
        log_ticks(axes.xaxis)
    hollow = note("not solved by then", marker="o", markerfacecolor="none", color=BLUE)
    notes = [_seed_note(), note("median", marker="|", markersize=9, color="black"), hollow]
    figure.legend(handles=[*notes, *lost_note(frame)], loc="outside upper right", ncols=4)
    return figure


def learning_curves_grid(frame: pd.DataFrame) -> Figure:
    """Greedy success against training steps: a panel per memory, a line per run, a style per cell."""
    found, names = looks(frame.architecture), cell_names(frame)
    num_rows = -(-len(found) // PANELS_PER_ROW)
    figure = Figure(figsize=(WIDTH, 0.9 + 1.15 * num_rows))
    grid = figure.subplots(num_rows, PANELS_PER_ROW, sharex=len(names) == 1, sharey=True, squeeze=False)
    styles = {name: LINE_STYLES[place % len(LINE_STYLES)] for place, name in enumerate(names)}
    for axes, (architecture, look) in zip(grid.flat, found.items(), strict=False):
        runs = frame.loc[frame.architecture == architecture]
        chance_line(axes, runs)
        for cell, curve, lost in zip(runs.cell, runs.curve, is_lost(runs), strict=True):
            steps, success = [point.steps for point in curve], [point.success for point in curve]
            axes.plot(steps, success, linestyle=styles[cell], color=BLUE, linewidth=0.8, alpha=0.7)
            cross_out(axes, steps[-1:], success[-1:], [lost] * len(steps[-1:]))
        axes.set_title(look.name)
        axes.set(ylim=(-0.03, 1.05))
        axes.xaxis.set_major_locator(MaxNLocator(3))
        large_numbers(axes.xaxis)
    for axes in grid.flat[: len(found)]:
        axes.set_xlim(left=0)  # when all is drawn: it fixes the other end of an axis that they share
    for axes in grid.flat[len(found) :]:
        axes.remove()
    figure.supxlabel("training steps", fontsize="medium")
    figure.supylabel("success (greedy)", fontsize="medium")
    heading = cell_heading(frame).lower()
    notes = [note(f"{heading} {name}", linestyle=styles[name], color=BLUE) for name in names]
    figure.legend(handles=[*notes, chance_note(), *lost_note(frame)], loc="outside upper right", ncols=4)
    return figure


def _rows(frame: pd.DataFrame, label: str) -> tuple[Figure, dict[Axes, str], dict[str, Look]]:
    """Return a figure with a panel per cell and a row per memory, the panels' cells, and the memories."""
    found, names = looks(frame.architecture), cell_names(frame)
    figure = Figure(figsize=(WIDTH, 1.2 + 0.19 * len(found)))
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    prefix = "horizon " if differ_by_horizon_only(frame) else ""
    for axes, name in zip(panels, names, strict=True):
        axes.set_title(f"{prefix}{name}")
        axes.grid(visible=True, axis="both")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(found)), [look.name for look in found.values()])
    panels[0].set_ylim(len(found) - 0.4, -0.6)  # the first on top
    figure.supxlabel(label, fontsize="medium")
    return figure, dict(zip(panels, names, strict=True)), found


def _side_by_side(place: int, num_runs: int) -> np.ndarray:
    """Return a height for each run of a row, so that equal ones do not hide each other."""
    return place + 0.5 * (np.arange(num_runs) - (num_runs - 1) / 2) / max(num_runs, 1)


def _dots(axes: Axes, values: pd.Series, heights: np.ndarray, lost: np.ndarray) -> None:
    axes.plot(values, heights, "o", color=to_rgba(BLUE, 0.7), markeredgewidth=0, markersize=3.5)
    cross_out(axes, values, heights, lost)


def _stroke(axes: Axes, value: float, place: int) -> None:
    axes.plot([value], [place], "|", color="black", markersize=9, markeredgewidth=1.2)


def _seed_note() -> Line2D:
    return note("one seed", marker="o", markersize=3.5, color=BLUE)
