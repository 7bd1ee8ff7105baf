"""Quantities that claims compare: a number, and how far from it another counts as alike."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from membench import stats
from membench.report import text
from membench.report.differences import (
    NEVER,
    SEEDS_TO_SEPARATE,
    SPEED,
    SUCCESS,
    Tolerance,
    borne_out,
    steps_tolerance,
)
from membench.report.frame import median_time, times_to
from membench.report.impact import shown_spread, spread_over_seeds


class Measured(NamedTuple):
    """A number, how people read it, and how far from it another may lie that counts as alike."""

    value: float
    shown: str
    tolerance: Tolerance
    by_run: Sequence[float]
    """The number of every run; empty if it is one of several together."""


def order_of(ours: Measured, theirs: Measured) -> int:
    """Return 1 if ours is larger, -1 if smaller, 0 if both are alike or their runs do not bear it out."""
    order = max(ours.tolerance, theirs.tolerance).order(ours.value, theirs.value)
    return borne_out(order, ours.by_run, theirs.by_run) if ours.by_run and theirs.by_run else order


def training_speed(runs: pd.DataFrame) -> Measured:
    """Return the median of training steps per second of the processor's time; see `tidy`."""
    speed = float(runs.processor_speed.median())
    return Measured(speed, text.rounded(speed), SPEED, list(runs.processor_speed.dropna()))


def steps_to_solved(runs: pd.DataFrame) -> Measured:
    """Return the median of steps to solved; infinite where it was not seen."""
    median = median_time(runs, "solved", "steps")
    steps = math.inf if median.is_lower_bound else median.value
    by_run = list(times_to(runs, "solved", "steps").fillna(NEVER))
    return Measured(steps, text.time(median), steps_tolerance(runs), by_run)


def instability(runs: pd.DataFrame) -> Measured:
    """Return the spread of success over seeds.

    Of fewer than five seeds, only that all were lost tells anything; of fewer than `SEEDS_TO_SEPARATE`, not
    even that.
    """
    spread = spread_over_seeds(runs)
    num_seeds = runs.groupby("cell").seed.nunique().to_numpy().min()
    if num_seeds < SEEDS_TO_SEPARATE:
        return Measured(math.nan, shown_spread(spread), SUCCESS, [])
    if num_seeds < stats.MIN_SEEDS_FOR_INTERVAL:
        return Measured(spread, shown_spread(spread), Tolerance(amount=1.0), [])
    medians = runs.groupby("cell").counted_success.transform("median")
    return Measured(spread, shown_spread(spread), SUCCESS, list((runs.counted_success - medians).abs()))
