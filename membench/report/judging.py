"""Ways to judge a claim by a frame of runs: what was measured, and whether it agrees.

A judge looks at every memory and task that the claim is about. It *holds* if all agree of which anything can
be told, *does not hold* if none does, and *depends* otherwise. It is *undecided* where nothing can be told:
nothing was solved, or all came to the same but for differences that `membench.report.differences` calls none.
Without runs to judge by there is no finding.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from membench import stats
from membench.report import text
from membench.report.differences import (
    EXACT,
    SEEDS_TO_SEPARATE,
    SUCCESS,
    Tolerance,
    borne_out,
    order_of_progress,
)
from membench.report.frame import median_time, names_without, num_solved, solved_of
from membench.report.impact import SAID, best_values, does_best_of_all
from membench.report.looks import display_name
from membench.report.measures import Measured, order_of
from membench.report.ranking import interval_or_why_not, paired_differences
from membench.stats import Strata

Verdict = Literal["holds", "does not hold", "depends", "undecided"]


class Finding(NamedTuple):
    """What was measured, and what follows for the claim."""

    measured: str
    verdict: Verdict
    runs: int


Judge = Callable[[pd.DataFrame], Finding | None]
"""Tidy frame of the suite that a claim rests on -> the finding; None where the runs for it are missing."""

Wanted = Callable[[pd.DataFrame], pd.Series]
"""Tidy frame -> which of its runs the claim is about."""


def horizons(lowest: float = 0, highest: float = float("inf")) -> Wanted:
    """Want the runs of a range of horizons, its ends included."""
    return lambda frame: frame.first_horizon.between(lowest, highest)


def verdict(agreed: Sequence[bool | None]) -> Verdict:
    """Return what follows if these agree with a claim and those do not; None tells nothing."""
    told = [one for one in agreed if one is not None]
    if not told:
        return "undecided"
    return "holds" if all(told) else "depends" if any(told) else "does not hold"


def verdict_of_seeds(agreed: Sequence[bool]) -> Verdict:
    """Return what follows if these seeds agree with a claim; below `SEEDS_TO_SEPARATE` they tell nothing."""
    return verdict(agreed if len(agreed) >= SEEDS_TO_SEPARATE else [])


def agrees(order: int) -> bool | None:
    """Return whether an order agrees with the claim that ours is larger; None if both are alike."""
    return order > 0 if order else None


def _rises(levels: Sequence[Measured]) -> bool | None:
    """Return whether values rise and never fall; None if they are all alike, or one is not known."""
    if any(math.isnan(level.value) for level in levels):
        return None
    orders = {order_of(after, before) for before, after in combinations(levels, 2)}
    return -1 not in orders if orders - {0} else None


def ordered(setting: str, measure: Callable[[pd.DataFrame], Measured], *, rising: bool) -> Judge:
    """Judge whether a measure rises with a setting, or falls, and never turns back, memory by memory."""

    def judge(frame: pd.DataFrame) -> Finding | None:
        if setting not in frame:
            return None
        frame = frame.assign(task_name=names_without(frame, setting))
        agreed, measured = [], []
        for _, runs in frame.groupby(["architecture", "task_name"], sort=False):
            name, task = runs.architecture.iloc[0], runs.task_name.iloc[0]
            by_level = [measure(chosen) for _, chosen in runs.groupby(setting)]
            agreed.append(_rises(by_level if rising else by_level[::-1]))
            measured.append(f"{display_name(str(name))}, {task}: {', '.join(one.shown for one in by_level)}")
        levels = ", ".join(f"{value:g}" for value in sorted(set(frame[setting].dropna())))
        return Finding(f"at {levels}: {'; '.join(measured)}", verdict(agreed), len(frame))

    return judge


def does_best(setting: str, value: float, wanted: Wanted) -> Judge:
    """Judge whether one value of a setting does best, as in `impact`, in the wanted tasks of every memory."""

    def judge(frame: pd.DataFrame) -> Finding | None:
        if (
            setting not in frame
            or not wanted(frame).any()
            or not set(SAID[setting].rows) <= set(frame[setting])
        ):
            return None
        frame = frame.assign(task_name=names_without(frame, setting)).loc[wanted(frame)]
        agreed, measured = [], []
        for name, runs in frame.groupby("architecture", sort=False):
            best = best_values(runs, setting)
            for task, here in runs.groupby("task_name", sort=False):
                agreed.append(does_best_of_all(here, setting, value))
                winner = f"{best[str(task)]:g}" if task in best else "none alone"
                measured.append(f"{display_name(str(name))}, {task}: {winner}")
        return Finding("best: " + "; ".join(measured), verdict(agreed), len(frame))

    return judge


def larger(column: str, ours: str, theirs: str, shown: Callable[[float], str], tolerance: Tolerance) -> Judge:
    """Judge whether the median of a column is larger for one memory than for another, task by task.

    Seeds have to bear it out, but for what is counted and is the same for every seed (`EXACT`).
    """

    def judge(frame: pd.DataFrame) -> Finding | None:
        left, right = _sides(frame.dropna(subset=column), ours, theirs)
        if left.empty:
            return None
        agreed, measured = [], []
        for cell, of_ours in left.groupby("cell", sort=False)[column]:
            of_theirs = right.loc[right.cell == cell, column]
            medians = [float(np.median(values)) for values in (of_ours, of_theirs)]
            order = tolerance.order(*medians)
            is_counted = tolerance == EXACT
            agreed.append(agrees(order if is_counted else borne_out(order, list(of_ours), list(of_theirs))))
            measured.append(f"{cell}: {shown(medians[0])} against {shown(medians[1])}")
        return Finding(_of_pair(ours, theirs, measured), verdict(agreed), len(left) + len(right))

    return judge


def better(ours: str, theirs: str, wanted: Wanted) -> Judge:
    """Judge whether one memory does better than another in the wanted tasks: see `order_of_progress`."""

    def judge(frame: pd.DataFrame) -> Finding | None:
        left, right = _sides(frame.loc[wanted(frame)], ours, theirs)
        if left.empty:
            return None
        agreed, measured = [], []
        for cell, runs in left.groupby("cell", sort=False):
            others = right.loc[right.cell == cell]
            agreed.append(agrees(order_of_progress(runs, others)))
            measured.append(f"{cell}: {_progress(runs)} against {_progress(others)}")
        if differences := paired_differences(left, right):
            measured.append(_shown_difference(differences))
        return Finding(_of_pair(ours, theirs, measured), verdict(agreed), len(left) + len(right))

    return judge


def _of_pair(ours: str, theirs: str, measured: Sequence[str]) -> str:
    return f"{display_name(ours)} against {display_name(theirs)}, {'; '.join(measured)}"


def _progress(runs: pd.DataFrame) -> str:
    median = median_time(runs, "solved", "steps")
    is_seen = math.isfinite(median.value) and not median.is_lower_bound
    return solved_of(runs) + f" in {text.count(median.value)} steps" * is_seen


def similar(ours: str, theirs: str) -> Judge:
    """Judge whether two memories' mean success is alike in each task that one of them learned.

    Of fewer than `SEEDS_TO_SEPARATE` seeds nothing follows.
    """

    def judge(frame: pd.DataFrame) -> Finding | None:
        pair = pd.concat(_sides(frame, ours, theirs))
        is_learned = (pair.status == "solved").groupby(pair.cell).transform("any")
        left, right = _sides(pair.loc[is_learned], ours, theirs)
        differences = paired_differences(left, right)
        if not differences:
            return None
        agreed = [
            SUCCESS.order(fmean(cell), 0.0) == 0 if len(cell) >= SEEDS_TO_SEPARATE else None
            for cell in differences
        ]
        shown = _of_pair(ours, theirs, [_shown_difference(differences)])
        return Finding(shown, verdict(agreed), len(left) + len(right))

    return judge


def _sides(frame: pd.DataFrame, ours: str, theirs: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the runs of two memories in the cells that both ran in."""
    left, right = (frame.loc[frame.architecture == name] for name in (ours, theirs))
    shared = set(left.cell) & set(right.cell)
    return left.loc[left.cell.isin(shared)], right.loc[right.cell.isin(shared)]


def _shown_difference(differences: Strata) -> str:
    mean = float(stats.mean_over_strata(*map(np.asarray, differences)))
    found = stats.interval_over_seeds(differences, stats.mean_over_strata)
    interval = interval_or_why_not(found, differences)
    return f"mean difference in success {text.signed(mean)}, 95 % interval: {interval}"


def helps(
    setting: str, value: str | float, usual: str | float, *, unstated: str | float | None = None
) -> Judge:
    """Judge whether a value of a setting does better than the usual one, in every task of every memory.

    `unstated` is what a run has that does not state the setting: its class's default.
    """
    return _against_the_usual(setting, value, usual, agrees, unstated)


def does_as_well(setting: str, value: str | float, usual: str | float) -> Judge:
    """Judge whether a value of a setting does no worse than the usual one, where either solved anything."""
    return _against_the_usual(setting, value, usual, lambda order: order >= 0, None)


def _against_the_usual(
    setting: str,
    value: str | float,
    usual: str | float,
    agree: Callable[[int], bool | None],
    unstated: str | float | None,
) -> Judge:
    def judge(frame: pd.DataFrame) -> Finding | None:
        if setting not in frame:
            return None
        pair = runs_with_both(frame, setting, {value, usual}, unstated=unstated)
        if pair.empty:
            return None
        agreed, measured = [], []
        for _, runs in pair.groupby(["architecture", "task_name"], sort=False):
            name, task = runs.architecture.iloc[0], runs.task_name.iloc[0]
            sides = [runs.loc[runs[setting] == one] for one in (value, usual)]
            agreed.append(agree(order_of_progress(*sides)) if num_solved(runs) else None)
            told = ", otherwise ".join(map(_progress, sides))
            measured.append(f"{display_name(str(name))}, {task}: {told}")
        return Finding("; ".join(measured), verdict(agreed), len(pair))

    return judge


def runs_with_both(
    frame: pd.DataFrame, setting: str, values: set, *, unstated: str | float | None = None
) -> pd.DataFrame:
    """Return the runs with either of two values of a setting, where one memory and task has both.

    They get a column `task_name`, what tells tasks apart but for the setting; `unstated` as for `helps`.
    """
    frame = frame.assign(task_name=names_without(frame, setting))
    if unstated is not None:
        frame[setting] = frame[setting].map(lambda stated: unstated if pd.isna(stated) else stated)
    frame = frame.loc[frame[setting].isin(list(values))]
    has_both = frame.groupby(["architecture", "task_name"])[setting].transform("nunique") == 2
    return frame.loc[has_both]


def has_parameters(architecture: str, part: str, lowest: float, highest: float) -> Judge:
    """Judge whether a part of a memory has a number of parameters between two bounds."""

    def judge(frame: pd.DataFrame) -> Finding | None:
        runs = frame.loc[frame.architecture == architecture]
        counts = sorted({parts[part] for parts in runs.parts if part in parts})
        if not counts:
            return None
        measured = " or ".join(map(text.count, counts))
        return Finding(measured, verdict([lowest <= count <= highest for count in counts]), len(runs))

    return judge
