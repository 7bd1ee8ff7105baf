"""Ladders: the table of how far each memory climbed, and the figure of how."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from membench.report import text
from membench.report.frame import cell_heading, cell_names, cells, is_lost
from membench.report.looks import Look, display_name, looks
from membench.report.panels import WIDTH, large_numbers, legend, note, say_nothing_here
from membench.report.sizes import shown_sizes, size_columns, sizes
from membench.report.tables import Table, shown_times
from membench.stats import MedianTime, median_time


def frontier_table(frame: pd.DataFrame) -> Table:
    """Return the longest horizon that ladders solved, by architecture: the median and every seed's.

    Beside them, the longest that their budgets had room for, and the median of when ladders had solved the
    median one. By cell, too, where there are several.
    """
    rows, by = [], ["architecture", *["cell"] * (len(cell_names(frame)) > 1)]
    for cell in cells(frame):
        runs, frontiers = cell.runs, cell.runs.frontier.fillna(0)
        median = frontiers.quantile(0.5, interpolation="lower")
        rows.append(
            {name: cell.key[name] for name in by}
            | {
                "runs": len(runs),
                "median_frontier": median,
                "by_seed": " ".join(f"{frontier:.0f}" for frontier in frontiers),
                "highest_rung": runs.highest_rung.max(),
                **_time_to(median, runs, "steps"),
                **_time_to(median, runs, "seconds"),
                "mean_success": runs.counted_success.mean(),
                **sizes(runs, "parameters"),
                "steps_per_second": runs.steps_per_second.median(),
            }
        )
    reached = ["median_frontier", "by_seed", "highest_rung"]
    times = ["median_steps_to_frontier", "median_seconds_to_frontier"]
    bounds = ["steps_to_frontier_is_lower_bound", "seconds_to_frontier_is_lower_bound"]
    cost = [*size_columns("parameters"), "steps_per_second"]
    columns = [*by, "runs", *reached, *times, *bounds, "mean_success", *cost]
    values = pd.DataFrame(rows, columns=columns)
    every_seed = [", ".join(text.count(float(one)) for one in seeds.split()) for seeds in values.by_seed]
    shown = {"Memory": values.architecture.map(display_name)}
    if "cell" in values:
        shown[cell_heading(frame)] = values.cell
    shown |= {
        "Frontier": values.median_frontier.map(text.count),
        "Every seed": every_seed,
        "At most": values.highest_rung.map(text.count),
        "Steps to it": shown_times(values, "steps_to_frontier", text.count),
        "Seconds to it": shown_times(values, "seconds_to_frontier", text.seconds),
        "Success there": values.mean_success.map(text.share),
        "Parameters": shown_sizes(values, "parameters"),
        "Steps/s": values.steps_per_second.map(text.rounded),
    }
    return Table(values, pd.DataFrame(shown))


def _time_to(horizon: float, runs: pd.DataFrame, unit: str) -> dict[str, float | bool]:
    """Return the median `unit` until ladders had solved a horizon; NaN for 0, which is none."""
    reached = [
        next((getattr(rung, unit) for rung in rungs if rung.horizon >= horizon), math.nan)
        for rungs in runs.rungs
    ]
    # A ladder is watched to its end, whenever its last evaluation was: every rollout is screened for one.
    watched_until = runs[unit].mask(is_lost(runs), math.inf)
    found = median_time(reached, watched_until) if horizon else MedianTime(math.nan, False)
    return {
        f"median_{unit}_to_frontier": found.value,
        f"{unit}_to_frontier_is_lower_bound": found.is_lower_bound,
    }


def frontier_figure(frame: pd.DataFrame) -> Figure:
    """The longest horizon solved, against training steps and against seconds: a line per run."""
    found = looks(frame.architecture)
    figure = Figure(figsize=(WIDTH, 3.6))
    by_steps, by_seconds = figure.subplots(1, 2, sharey=True)
    _climb_panel(by_steps, frame, found, "steps")
    _climb_panel(by_seconds, frame, found, "seconds")
    by_steps.set(xlabel="training steps", ylabel="longest horizon solved")
    by_seconds.set_xlabel("seconds from the start of the process")
    rungs = sorted({rung.horizon for rungs in frame.rungs for rung in rungs})
    if rungs:
        by_steps.set_yscale("log", base=2)
        by_steps.yaxis.set_minor_formatter(NullFormatter())
    by_steps.set_yticks(rungs, [f"{rung:,}" for rung in rungs])
    lost = [note("diverged or failed", marker="x", color="black")] * bool(is_lost(frame).any())
    legend(figure, found.values(), [note("last rung solved", marker="o"), *lost])
    return figure


def _climb_panel(axes: Axes, frame: pd.DataFrame, found: dict[str, Look], unit: str) -> None:
    for architecture, rungs, end in zip(frame.architecture, frame.rungs, frame[unit], strict=True):
        look = found[architecture]
        at, horizons = [getattr(rung, unit) for rung in rungs], [rung.horizon for rung in rungs]
        if rungs:  # from the last rung solved, level to the end of the run
            reached = [*at, end], [*horizons, horizons[-1]]
            axes.step(*reached, where="post", color=look.colour, linestyle=look.line, alpha=0.75)
        axes.plot(at[-1:], horizons[-1:], look.marker, color=look.colour)
    lost = frame.loc[is_lost(frame)]
    axes.plot(lost[unit], lost.frontier.fillna(lost.first_horizon), "x", color="black", zorder=5)
    if not any(frame.rungs):
        axes.set_xticks([])
        say_nothing_here(axes, "no run solved its first horizon")
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    large_numbers(axes.xaxis)
