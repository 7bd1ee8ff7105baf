"""A frame of runs -> the figures of a report."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from membench import stats
from membench.report import text
from membench.report.looks import Look, looks
from membench.report.panels import GREY, WIDTH, HorizonAxis, legend, note, say_nothing_here
from membench.report.tables import cells, censored_at, median_time

CURVES_PER_ROW = 3


def success_figure(frame: pd.DataFrame) -> Figure:
    """Success over horizon: every seed, the means, and intervals where they can be computed."""
    found = looks(frame.architecture)
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    axis = HorizonAxis(frame, found)
    means: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for cell in cells(frame):
        look, success = found[cell.architecture], cell.runs.counted_success
        centre = axis.centre(cell.architecture, cell.horizon)
        places = axis.spread(cell.architecture, cell.horizon, len(cell.runs))
        axes.plot(places, success, look.marker, color=look.colour, alpha=0.6, markeredgewidth=0)
        _cross_out(axes, places, success, cell.runs)
        means[cell.architecture].append((centre, success.mean()))
        if interval := stats.bootstrap_interval(success.tolist()):
            axes.vlines(centre, *interval, color=look.colour, linewidth=2.2)
    for name, points in means.items():
        axes.plot(*zip(*points, strict=True), color=found[name].colour)
    for chance in sorted(set(frame.chance)):
        axes.axhline(chance, color=GREY, linestyle="--", linewidth=0.8)
    axes.set(ylim=(-0.03, 1.05), ylabel="success (share of right answers)")
    axis.label(axes)
    notes = [note("chance", linestyle="--", linewidth=0.8), *_lost_note(frame)]
    legend(figure, found.values(), notes)
    return figure


def steps_to_solved_figure(frame: pd.DataFrame) -> Figure:
    """Steps and seconds to solved over horizon; a hollow marker is a run that was not solved by then."""
    found = looks(frame.architecture)
    figure = Figure(figsize=(WIDTH, 3.4))
    for axes, unit in zip(figure.subplots(1, 2), ("steps", "seconds"), strict=True):
        _times_panel(axes, frame, found, unit)
    notes = [note("not solved by then", marker="o", markerfacecolor="none")] * _any_unsolved(frame)
    legend(figure, found.values(), [*notes, *_lost_note(frame, ", never solved")])
    return figure


def _times_panel(axes: Axes, frame: pd.DataFrame, found: dict[str, Look], unit: str) -> None:
    axis = HorizonAxis(frame, found)
    medians: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for cell in cells(frame):
        look, times = found[cell.architecture], cell.runs[f"{unit}_to_solved"]
        places = axis.spread(cell.architecture, cell.horizon, len(cell.runs))
        bounds = censored_at(cell.runs, unit).where(times.isna())
        axes.plot(places, times, look.marker, color=look.colour, alpha=0.6, markeredgewidth=0)
        axes.plot(places, bounds, look.marker, color=look.colour, markerfacecolor="none")
        never = places[np.isinf(bounds)]
        axes.plot(never, np.full(len(never), 0.98), "x", color="black", transform=axes.get_xaxis_transform())
        median = median_time(cell.runs, "solved", unit)
        seen = not median.is_lower_bound and np.isfinite(median.value)
        centre = axis.centre(cell.architecture, cell.horizon)
        medians[cell.architecture].append((centre, median.value if seen else np.nan))
    for name, points in medians.items():
        axes.plot(*zip(*points, strict=True), color=found[name].colour)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text.rounded(value)))
    axes.set_ylabel(f"{unit} to solved")
    axis.label(axes)


def learning_curves_figure(frame: pd.DataFrame) -> Figure:
    """Greedy success against training steps, a panel per horizon, a line per run up to its last evaluation."""
    found = looks(frame.architecture)
    horizons = sorted(frame.horizon.unique())
    num_columns = min(CURVES_PER_ROW, len(horizons))
    num_rows = -(-len(horizons) // num_columns)
    figure = Figure(figsize=(WIDTH, 0.6 + 2.2 * num_rows))
    grid = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
    for axes, horizon in zip(grid.flat, horizons, strict=False):
        _curves_panel(axes, frame[frame.horizon == horizon], found)
        axes.set_title(f"horizon {horizon}")
    for axes in grid.flat[len(horizons) :]:
        axes.remove()
    figure.supxlabel("training steps", fontsize="medium")
    figure.supylabel("success (greedy)", fontsize="medium")
    legend(figure, found.values(), _lost_note(frame))
    return figure


def _curves_panel(axes: Axes, runs: pd.DataFrame, found: dict[str, Look]) -> None:
    for run in runs[runs.curve.map(len) > 0].itertuples():
        look = found[run.architecture]
        steps, success = [point.steps for point in run.curve], [point.success for point in run.curve]
        axes.plot(steps, success, color=look.colour, linewidth=0.8, alpha=0.7)
        axes.plot(steps[-1], success[-1], look.marker, color=look.colour, clip_on=False)
        _cross_out(axes, steps[-1:], success[-1:], runs.loc[[run.Index]])
    if not runs.curve.map(len).any():
        say_nothing_here(axes, "no evaluations")
    for chance in sorted(set(runs.chance)):
        axes.axhline(chance, color=GREY, linestyle="--", linewidth=0.8)
    axes.set(ylim=(-0.03, 1.05))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text.rounded(value)))


def cost_figure(frame: pd.DataFrame) -> Figure:
    """Training speed at the longest horizon, every run and the median; and parameters."""
    found = looks(frame.architecture)
    longest = frame.horizon.max()
    figure = Figure(figsize=(WIDTH, 1.0 + 0.32 * len(found)))
    speed, parameters = figure.subplots(1, 2, sharey=True)
    for place, (name, look) in enumerate(found.items()):
        runs = frame[frame.architecture == name]
        speeds = runs.steps_per_second[runs.horizon == longest]
        _bar(speed, place, speeds.median(), look, text.rounded)
        speed.plot(speeds, np.full(len(speeds), place), "|", color="black", markersize=6)
        _bar(parameters, place, runs.parameters.median(), look, text.rounded)
    speed.set_yticks(range(len(found)), [look.name for look in found.values()])
    speed.invert_yaxis()
    speed.set_xlabel(f"training steps per second at horizon {longest}")
    parameters.set_xlabel("trainable parameters")
    for axes in (speed, parameters):
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.18)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text.rounded(value)))
    return figure


def _bar(axes: Axes, place: int, value: float, look: Look, unit: Callable[[float], str]) -> None:
    shown = 0.0 if np.isnan(value) else value
    bars = axes.barh(place, shown, height=0.62, color=look.colour, alpha=0.8)
    axes.bar_label(bars, ["not measured" if np.isnan(value) else unit(value)], padding=4, fontsize=8)


def _any_unsolved(frame: pd.DataFrame) -> bool:
    return bool((frame.status == "unsolved").any())


def _is_lost(runs: pd.DataFrame) -> pd.Series:
    return runs.status.isin(["diverged", "failed"])


def _cross_out(axes: Axes, places, values, runs: pd.DataFrame) -> None:
    lost = _is_lost(runs).to_numpy()
    axes.plot(np.asarray(places)[lost], np.asarray(values)[lost], "x", color="black", zorder=5)


def _lost_note(frame: pd.DataFrame, suffix: str = "") -> list:
    return [note(f"diverged or failed{suffix}", marker="x", color="black")] * bool(_is_lost(frame).any())


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "success": success_figure,
    "steps_to_solved": steps_to_solved_figure,
    "learning_curves": learning_curves_figure,
    "cost": cost_figure,
}
"""Plot name -> tidy frame with at least one run -> figure."""
