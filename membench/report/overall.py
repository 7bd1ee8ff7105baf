"""Figures over all cells of a suite: the ranking with its intervals, and the performance profiles."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from membench import stats
from membench.report.looks import Look, looks
from membench.report.panels import COLUMN, GREY, WIDTH, legend, note
from membench.report.ranking import by_cell, in_the_same_cells, ranking_table, strata
from membench.report.rows import PANELS_PER_ROW

LEVELS = np.linspace(0, 1, 101)
"""Success at which a profile is drawn."""


def of_few_seeds(runs: pd.DataFrame) -> list[float]:
    """Return the success of every run if they are of too few seeds for an interval; else nothing."""
    success = runs.counted_success.tolist()
    is_few = min(map(len, strata(runs))) < stats.MIN_SEEDS_FOR_INTERVAL
    return success if is_few and len(success) > 1 else []


def ranking_figure(frame: pd.DataFrame) -> Figure:
    """The interquartile mean of each memory, best on top, with its interval or, of few seeds, every run."""
    found, frame = looks(frame.architecture), in_the_same_cells(frame)
    ranked = ranking_table(frame).values
    figure = Figure(figsize=(COLUMN, 1.2 + 0.19 * len(ranked)))
    axes = figure.subplots()
    for chance in sorted(set(frame.chance)):
        axes.axvline(chance, color=GREY, linestyle="--", linewidth=0.8)
    points = {name: of_few_seeds(runs) for name, runs in frame.groupby("architecture", sort=False)}
    for place, row in enumerate(ranked.to_dict("records")):
        name, look = row["architecture"], found[row["architecture"]]
        axes.plot(points[name], [place] * len(points[name]), "|", color=look.colour, alpha=0.5, markersize=9)
        if not np.isnan(row["interval_low"]):
            axes.hlines(place, row["interval_low"], row["interval_high"], color=look.colour, linewidth=2)
        axes.plot(row["interquartile_mean"], place, look.marker, color=look.colour, markersize=5)
    axes.set_yticks(range(len(ranked)), [found[name].name for name in ranked.architecture])
    axes.set(ylim=(len(ranked) - 0.4, -0.6), xlim=(-0.03, 1.05), xlabel="success, interquartile mean")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")
    notes = [note("95 % interval", linestyle="-", linewidth=2)] * bool(axes.collections)
    notes += [note("one run, of few seeds", marker="|", markersize=9)] * any(points.values())
    notes += [note("chance", linestyle="--", linewidth=0.8)]
    figure.legend(handles=notes, loc="outside upper right", ncols=len(notes), columnspacing=1, fontsize=7)
    return figure


def profiles_figure(frame: pd.DataFrame) -> Figure:
    """The share of runs whose success is above each mark, a line per memory; bands where intervals are."""
    found = looks(frame.architecture)
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots()
    for name, look in found.items():
        _profile(axes, frame.loc[frame.architecture == name], look)
    _label(axes)
    axes.set(xlabel="success", ylabel="share of runs above it")
    band = note("95 % interval", linewidth=6, alpha=0.25, linestyle="-")
    legend(figure, found.values(), [band] * bool(axes.collections))
    return figure


def profiles_grid(frame: pd.DataFrame) -> Figure:
    """The same of many memories: a panel each, with all others in grey behind it."""
    found = looks(frame.architecture)
    num_rows = -(-len(found) // PANELS_PER_ROW)
    figure = Figure(figsize=(WIDTH, 0.9 + 1.15 * num_rows))
    grid = figure.subplots(num_rows, PANELS_PER_ROW, sharex=True, sharey=True, squeeze=False)
    every = {name: frame.loc[frame.architecture == name] for name in found}
    shares = [stats.performance_profile(strata(runs), LEVELS) for runs in every.values()]
    for axes, (name, look) in zip(grid.flat, found.items(), strict=False):
        for share in shares:
            axes.step(LEVELS, share, where="post", color="#D8D8D8", linewidth=0.6)
        _profile(axes, every[name], look)
        _label(axes)
        axes.set_title(look.name)
    for axes in grid.flat[len(found) :]:
        axes.remove()
    figure.supxlabel("success", fontsize="medium")
    figure.supylabel("share of runs above it", fontsize="medium")
    others = note("the other memories", linestyle="-", linewidth=0.6, color="#B0B0B0")
    figure.legend(handles=[others], loc="outside upper right")
    return figure


def _profile(axes: Axes, runs: pd.DataFrame, look: Look) -> None:
    success = list(by_cell(runs).values())
    share = stats.performance_profile(success, LEVELS)
    # A mark near the middle of the line, where lines are apart, tells them from each other in grey.
    axes.step(LEVELS, share, where="post", color=look.colour, linestyle=look.line)
    axes.plot(LEVELS[::20], share[::20], look.marker, color=look.colour)
    if band := stats.profile_interval(success, LEVELS):
        axes.fill_between(LEVELS, *band, step="post", color=look.colour, alpha=0.15, linewidth=0)


def _label(axes: Axes) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.05))
