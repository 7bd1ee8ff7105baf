"""Which differences count: how far apart measurements must lie before a claim is judged by them.

A tolerance per kind of quantity; within it two values are alike, and a comparison of them tells nothing. The
seeds have to bear a difference out, too.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pandas as pd

from membench import stats
from membench.report.frame import median_time, num_solved, times_to


class Tolerance(NamedTuple):
    """How far apart two values of one kind may lie and still count as alike: the larger of two bounds."""

    share: float = 0.0
    """Of the smaller of the two values."""
    amount: float = 0.0
    """In the quantity's own unit."""

    def order(self, ours: float, theirs: float) -> int:
        """Return 1 if ours is larger, -1 if it is smaller, and 0 if both are alike or one is not known."""
        if ours == theirs or math.isnan(ours) or math.isnan(theirs):
            return 0
        is_apart = abs(ours - theirs) > max(self.amount, self.share * min(abs(ours), abs(theirs)))
        return (1 if ours > theirs else -1) if is_apart else 0


SUCCESS = Tolerance(amount=0.05)
"""Shares of right answers, and their spread over seeds."""

SPEED = Tolerance(share=0.1)
"""Training steps per second, which depend on what else runs on the machine."""

GRADIENT = Tolerance(share=0.1)
"""A step's share of the gradient."""

SEEDS_TO_SEPARATE = 3
"""So many runs a side can set two sides apart by their order alone. Of two sides that differ in nothing, all
runs of one are ahead of all of the other in a third of cases with two runs each, in a tenth with three."""

NEVER = float(2**62)
"""Steps to solved of a run that did not get there: more than any, and finite, for differences are taken."""

SIZE = Tolerance(share=0.05)
"""Parameters and state of agents that count as equally large: what `membench.sizing.TOLERANCE` leaves."""

EXACT = Tolerance()
"""What is counted: parameters."""


def steps_tolerance(runs: pd.DataFrame) -> Tolerance:
    """Return the tolerance of steps to solved: a tenth, and the steps from one evaluation to the next.

    An evaluation waits for the end of an update, so that these are more than `evaluation.interval`.
    """
    evaluated = ([0, *(point.steps for point in curve)] for curve in runs.curve)
    waits = [after - before for steps in evaluated for before, after in pairwise(steps)]
    return Tolerance(share=0.1, amount=max(waits, default=0))


def order_of_counts(ours: int, of_ours: int, theirs: int, of_theirs: int) -> int:
    """Return 1 if a larger share of our runs counts than of theirs, -1 if a smaller one, 0 if they are alike.

    One run more or less tells nothing, unless it makes the difference between all runs and none; and nothing
    does with fewer than `SEEDS_TO_SEPARATE` a side.
    """
    if min(of_ours, of_theirs) < SEEDS_TO_SEPARATE:
        return 0
    difference = ours * of_theirs - theirs * of_ours
    is_apart = abs(difference) > max(of_ours, of_theirs) or abs(difference) == of_ours * of_theirs
    return (1 if difference > 0 else -1) if is_apart else 0


def order_of_progress(ours: pd.DataFrame, theirs: pd.DataFrame) -> int:
    """Return 1 if our runs of one task did better than theirs, -1 if worse, 0 if that cannot be told.

    Better is a larger share solved; where shares are alike, fewer steps to solved, if both medians were seen.
    Success short of solved is left out: where nothing is solved, its differences are mostly noise.
    """
    order = order_of_counts(num_solved(ours), len(ours), num_solved(theirs), len(theirs))
    if not order:
        medians = [median_time(runs, "solved", "steps") for runs in (theirs, ours)]
        if all(math.isfinite(median.value) and not median.is_lower_bound for median in medians):
            tolerance = steps_tolerance(pd.concat([ours, theirs]))
            order = tolerance.order(*(median.value for median in medians))
    steps = (times_to(runs, "solved", "steps").fillna(NEVER) for runs in (ours, theirs))
    return borne_out(order, *(list(-side) for side in steps))


def borne_out(order: int, ours: Sequence[float], theirs: Sequence[float]) -> int:
    """Return an order of two sides, or 0 if their seeds do not bear it out.

    They do if the 95 % interval of how probably one of ours is larger than one of theirs leaves out one half.
    Below five seeds, or if all seeds of a side are equal, there is no interval; then they do if no seed of
    the smaller side is larger than one of the other's. Fewer than `SEEDS_TO_SEPARATE` a side never do.

    Args:
        order: 1, 0 or -1, as from `Tolerance.order`.
        ours: a value per seed.
        theirs: the same of the other side.
    """
    if not order or min(len(ours), len(theirs)) < SEEDS_TO_SEPARATE:
        return 0
    interval = stats.improvement_interval([list(ours)], [list(theirs)])
    if interval is not None:
        is_borne_out = interval.low > 0.5 if order > 0 else interval.high < 0.5
    else:
        is_borne_out = min(ours) >= max(theirs) if order > 0 else max(ours) <= min(theirs)
    return order if is_borne_out else 0
