"""Statistics over seeds: pure functions of values, one per seed.

A stratum is one cell's values, in the order of their seeds. A seed draws the same weights and episodes in
every cell and for every memory, so what it comes to in one tells of the others. Therefore strata of as many
seeds are resampled together, seed by seed (a cluster bootstrap), and not each by itself (Agarwal et al. 2021,
arXiv 2108.13264), which takes them for independent: in a simulation of five cells by five seeds, correlated
by 0.9 over cells, 95 % intervals held the mean in 54 % of cases that way, in 82 % this way; where nothing
correlates, in 92 % and 87 %.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MIN_SEEDS_FOR_INTERVAL = 5
"""Fewer seeds than this say nothing about the spread of a bootstrap."""

NUM_RESAMPLES = 9_999
"""Of a bootstrap; as many as `scipy.stats.bootstrap` draws."""

TAILS = ((1 - 0.95) / 2, 1 - (1 - 0.95) / 2)
"""Where a 95 % interval begins and ends, rounded as `scipy.stats.bootstrap` does."""

Strata = Sequence[Sequence[float]]
"""The values of each cell."""


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
    """Return the least bits about the cues that answers can carry which are right with probability `success`.

    Per item, log2 C + p log2 p + (1 - p) log2((1 - p) / (C - 1)): the capacity of a symmetric channel of C
    symbols (Cover and Thomas 2006, section 7.2) that gets p of them through. 0 at chance and below. Answers
    that are wrong in a pattern, or of which some items are right more often than others, carry more (Fano's
    inequality).
    """
    if success <= 1 / num_cues:
        return 0.0
    wrong = 1 - success
    lost = -success * math.log2(success) - (wrong * math.log2(wrong / (num_cues - 1)) if wrong else 0.0)
    return num_items * (math.log2(num_cues) - lost)


def interquartile_mean(values: Sequence[float]) -> float:
    """Return the mean without the lowest and highest quarter (each rounded down to whole values)."""
    return float(stats.trim_mean(values, 0.25))


def pooled_mean(*strata: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean of all values of all strata."""
    return np.concatenate(strata, axis=axis).mean(axis)


def pooled_interquartile_mean(*strata: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the interquartile mean of all values of all strata (Agarwal et al. 2021, arXiv 2108.13264)."""
    return stats.trim_mean(np.concatenate(strata, axis=axis), 0.25, axis=axis)


def mean_over_strata(*strata: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean of the strata's means, so that each counts alike however many values it has."""
    return np.mean([stratum.mean(axis) for stratum in strata], axis=0)


def interval_over_seeds(strata: Strata, statistic: Callable[..., np.ndarray]) -> Interval | None:
    """Return the 95 % percentile bootstrap interval of a statistic of strata, seeds resampled.

    The same values give the same interval.

    Args:
        strata: the values of each stratum, one per seed; strata of as many are taken to have the same seeds.
        statistic: of strata as arrays, along `axis`, as `pooled_mean` is.

    Returns:
        The interval; None if it cannot be computed, for which `why_no_interval` has the reason.
    """
    if why_no_interval(strata):
        return None
    drawn = zip(strata, _draws(tuple(map(len, strata))), strict=True)
    return _percentile_interval(statistic(*(np.asarray(values)[places] for values, places in drawn), axis=-1))


@lru_cache(maxsize=4)
def _draws(*sides: tuple[int, ...]) -> list[np.ndarray]:
    """Return which values each resample of strata of these sizes draws [resample, value], a stratum each.

    Each side is drawn by itself: two that are drawn as one would meet in the same seed too often. The same
    draws as `scipy.stats.bootstrap` makes from a generator of seed 0, of the strata of one side as paired
    samples; kept, for a table asks for the same sizes pair by pair.
    """
    random, found = np.random.default_rng(0), []
    for sizes in sides:
        drawn = {size: random.integers(0, size, (NUM_RESAMPLES, size)) for size in dict.fromkeys(sizes)}
        found += [drawn[size] for size in sizes]
    return found


def _percentile_interval(found: np.ndarray) -> Interval:
    low, high = np.quantile(found, TAILS)
    return Interval(float(low), float(high))


def why_no_interval(strata: Strata) -> str:
    """Return why the values of some strata have no bootstrap interval; nothing if they have one."""
    if min(map(len, strata), default=0) < MIN_SEEDS_FOR_INTERVAL:
        return f"fewer than {MIN_SEEDS_FOR_INTERVAL} seeds"
    return "all seeds equal" if all(min(values) == max(values) for values in strata) else ""


def bootstrap_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % bootstrap interval of the mean of one stratum; see `interval_over_seeds`."""
    return interval_over_seeds([values], pooled_mean)


def probability_of_improvement(ours: Strata, theirs: Strata) -> float:
    """Return how probably a run of ours beats one of theirs, the mean over strata; a tie counts half.

    Agarwal et al. 2021, arXiv 2108.13264, equation 2. Seeds are not paired, and may differ in number.
    """
    beaten = [_beaten(*pair).mean((-2, -1)) for pair in zip(ours, theirs, strict=True)]
    return float(np.mean([(won + 1) / 2 for won in beaten]))


def improvement_interval(ours: Strata, theirs: Strata) -> Interval | None:
    """Return the bootstrap interval of `probability_of_improvement`, seeds resampled on both sides."""
    strata = [*ours, *theirs]
    if why_no_interval(strata):
        return None
    # What two runs come to does not depend on the resample: it only says how often each of them is drawn.
    counts = _counts(tuple(map(len, ours)), tuple(map(len, theirs)))
    found = []
    for values, others, drawn, drawn_others in zip(
        ours, theirs, counts[: len(ours)], counts[len(ours) :], strict=True
    ):
        won = ((drawn @ _beaten(values, others)) * drawn_others).sum(-1) / (len(values) * len(others))
        found.append((won + 1) / 2)
    return _percentile_interval(np.mean(found, axis=0))


def _beaten(ours: Sequence[float], theirs: Sequence[float]) -> np.ndarray:
    """Return 1 where a run of ours [first axis] beats one of theirs [second], -1 where it loses, else 0."""
    return np.sign(np.subtract.outer(np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)))


@lru_cache(maxsize=4)
def _counts(*sides: tuple[int, ...]) -> list[np.ndarray]:
    """Return how often each resample draws each value [resample, value], a stratum each; see `_draws`."""
    return [
        np.stack([(places == value).sum(-1) for value in range(places.shape[1])], axis=-1).astype(float)
        for places in _draws(*sides)
    ]


def performance_profile(strata: Strata, thresholds: ArrayLike) -> np.ndarray:
    """Return the share of runs above each threshold, the mean over strata (arXiv 2108.13264, equation 1)."""
    above = [np.asarray(values)[:, None] > np.asarray(thresholds) for values in strata]
    return np.mean([runs.mean(0) for runs in above], axis=0)


def profile_interval(strata: Strata, thresholds: ArrayLike) -> tuple[np.ndarray, np.ndarray] | None:
    """Return where the bootstrap interval of a performance profile begins and ends, by threshold.

    Each threshold has a 95 % interval of its own. None where `why_no_interval` has a reason.
    """
    if why_no_interval(strata):
        return None
    counts = _counts(tuple(map(len, strata)))
    above = (np.asarray(values)[:, None] > np.asarray(thresholds) for values in strata)
    shares = [drawn @ runs / len(runs) for drawn, runs in zip(counts, above, strict=True)]
    low, high = np.quantile(np.mean(shares, axis=0), TAILS, axis=0)
    return low, high


def wilson_interval(num_right: int, num_answers: int) -> Interval:
    """Return the 95 % Wilson score interval of a share of independent answers."""
    found = stats.binomtest(num_right, num_answers).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(float(found.low), float(found.high))


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


def median_time_interval(times: ArrayLike, watched_until: ArrayLike) -> Interval | None:
    """Return the 95 % interval of the median time: where the Kaplan-Meier curve's band falls below a half.

    Log-log band of Greenwood's variance; arguments as in `median_time`. The curve takes runs that were
    stopped early for such as the others, which `median_time` does not.

    Returns:
        The interval, whose high is infinite if the band never falls that far; None from fewer than
        `MIN_SEEDS_FOR_INTERVAL` runs or if none was seen to get there.
    """
    times = np.asarray(times, dtype=float)
    censored = np.isnan(times)
    if len(times) < MIN_SEEDS_FOR_INTERVAL or censored.all():
        return None
    # One that never gets there is watched longer than any other run.
    ends = np.where(censored, watched_until, times)
    ends = np.where(np.isinf(ends), 2 * np.max(ends, where=np.isfinite(ends), initial=1.0), ends)
    curve = stats.ecdf(stats.CensoredData.right_censored(ends, censored)).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The confidence interval is undefined")
        band = curve.confidence_interval(0.95, method="log-log")
    return Interval(_falls_below_half(band.low), _falls_below_half(band.high))


def _falls_below_half(curve: Any) -> float:
    """Return from when a survival curve is below a half; it has no variance, and no band, where it is 0."""
    below = np.nan_to_num(curve.probabilities, nan=1.0) < 0.5
    return float(curve.quantiles[below][0]) if below.any() else math.inf
