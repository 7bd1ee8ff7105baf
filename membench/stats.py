"""Statistics over seeds: pure functions of one cell's values, one value per run."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MIN_SEEDS_FOR_INTERVAL = 5
"""Fewer seeds than this say nothing about the spread of a bootstrap."""


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class MedianTime(NamedTuple):
    """When more than half of the runs had got somewhere."""

    value: float
    """Infinite if half or more of the runs never can."""
    is_lower_bound: bool
    """Whether runs ended before the median could be seen, so that it is only known to exceed `value`."""


def bits_recalled(success: float, num_items: int, num_cues: int) -> float:
    """Return the bits about the cues that answers carry which are right with probability `success`.

    Per item, log2 C + p log2 p + (1 - p) log2((1 - p) / (C - 1)): the capacity of a symmetric channel of C
    symbols (Cover and Thomas 2006, section 7.2) that gets p of them through. 0 at chance and below.
    """
    if success <= 1 / num_cues:
        return 0.0
    wrong = 1 - success
    lost = -success * math.log2(success) - (wrong * math.log2(wrong / (num_cues - 1)) if wrong else 0.0)
    return num_items * (math.log2(num_cues) - lost)


def interquartile_mean(values: Sequence[float]) -> float:
    """Return the mean without the lowest and highest quarter (each rounded down to whole values)."""
    return float(stats.trim_mean(values, 0.25))


def bootstrap_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % percentile bootstrap interval of the mean, the same for the same values.

    Returns:
        The interval; None if it cannot be computed: from fewer than `MIN_SEEDS_FOR_INTERVAL` values, or
        from values that are all equal, of which every resample is the same.
    """
    if len(values) < MIN_SEEDS_FOR_INTERVAL or min(values) == max(values):
        return None
    random = np.random.default_rng(0)
    found = stats.bootstrap((values,), np.mean, confidence_level=0.95, method="percentile", rng=random)
    return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))


def median_time(times: ArrayLike, watched_until: ArrayLike) -> MedianTime:
    """Return the time by which more than half of the runs had got there, right-censored runs included.

    Args:
        times: when each run got there; NaN if it was not seen to.
        watched_until: when each run ended, so that one that had not got there by then might have later;
            infinite for one that never can.
    """
    times = np.asarray(times, dtype=float)
    reached = ~np.isnan(times)
    known = np.where(reached, times, watched_until)
    num_short_of_majority = len(known) // 2
    middle = float(np.sort(known)[num_short_of_majority])
    is_seen = np.isinf(middle) or np.sum(reached & (known <= middle)) > num_short_of_majority
    return MedianTime(middle, is_lower_bound=not is_seen)
