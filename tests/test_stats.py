"""Statistics over seeds, against values worked out by hand."""

import math

import numpy as np
import pytest
from scipy.stats import CensoredData, bootstrap, ecdf, mannwhitneyu, trim_mean

from membench.stats import (
    bits_recalled,
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    interval_over_seeds,
    mean_over_strata,
    median_time,
    median_time_interval,
    performance_profile,
    pooled_interquartile_mean,
    pooled_mean,
    probability_of_improvement,
    profile_interval,
    why_no_interval,
    wilson_interval,
)

NAN, NEVER = math.nan, math.inf


def test_interquartile_mean_drops_a_quarter_at_either_end():
    assert interquartile_mean([9, 0, 100, 2, 4, 0, 3, 1]) == (1 + 2 + 3 + 4) / 4


def test_interquartile_mean_of_fewer_than_four_values_is_their_mean():
    assert interquartile_mean([0, 0, 3]) == 1


def test_interval_of_a_share():
    # A resample of five holds Binomial(5, 1/5) ones: none in 33 % of cases, more than three in 0.7 %, more
    # than two in 5.8 %. So the 2.5 and 97.5 percentiles of its mean are 0 and 3 / 5.
    assert bootstrap_interval([0, 0, 1, 0, 0]) == (0, pytest.approx(0.6))


def test_interval_of_many_values_is_close_to_the_normal_one():
    found = bootstrap_interval(list(range(101)))
    assert found is not None
    # 50 -+ 1.96 x 29.2 / sqrt(101)
    assert found.low == pytest.approx(44.3, abs=0.5) and found.high == pytest.approx(55.7, abs=0.5)


@pytest.mark.parametrize("statistic", [pooled_mean, mean_over_strata, pooled_interquartile_mean])
def test_intervals_are_those_of_scipy_s_bootstrap_of_paired_samples(statistic):
    random = np.random.default_rng(5)
    for sizes, paired in (([5], True), ([5, 5], True), ([7, 7, 7], True), ([5, 9, 6], False)):
        strata = [random.uniform(size=size).tolist() for size in sizes]
        expected = bootstrap(
            strata, statistic, paired=paired, method="percentile", rng=np.random.default_rng(0)
        )
        found = interval_over_seeds(strata, statistic)
        assert found == pytest.approx(tuple(expected.confidence_interval), abs=1e-9)


def test_interval_is_the_same_every_time():
    values = [0.1, 0.5, 0.6, 0.8, 0.9, 1.0]
    assert bootstrap_interval(values) == bootstrap_interval(values)


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3, 0.4], [1.0] * 5, [0.5]])
def test_an_interval_that_cannot_be_computed_is_none(values):
    assert bootstrap_interval(values) is None


@pytest.mark.parametrize(
    ("times", "watched_until", "expected"),
    [
        ([30, 10, 20], [30, 10, 20], (20, False)),
        # Of an even number, more than half is the upper of the middle two.
        ([30, 10, 20, 40], [30, 10, 20, 40], (30, False)),
        # One of three is unsolved after the other two: it cannot matter.
        ([10, NAN, 20], [10, 99, 20], (20, False)),
        # Two of three are unsolved.
        ([10, NAN, NAN], [10, 99, 99], (99, True)),
        # Exactly half is not more than half.
        ([10, NAN], [10, 99], (99, True)),
        # One run was stopped at 14: it might have got there before 30, but the median is at least 14.
        ([12, NAN, 30], [12, 14, 30], (14, True)),
        # One run diverged: it never gets there, so the majority is complete at 30.
        ([12, NAN, 30], [12, NEVER, 30], (30, False)),
        ([12, NAN, NAN], [12, NEVER, NEVER], (NEVER, False)),
        # One diverged, one ran out of budget: the latter might still have made the majority.
        ([12, NAN, NAN], [12, NEVER, 99], (99, True)),
        # Solved at the very end of the budget beside one that was not.
        ([10, 99, NAN], [10, 99, 99], (99, False)),
    ],
)
def test_median_time(times, watched_until, expected):
    assert median_time(times, watched_until) == expected


def test_bits_recalled_by_hand():
    assert bits_recalled(1.0, num_items=4, num_cues=4) == 8.0
    assert bits_recalled(0.5, num_items=1, num_cues=2) == 0.0
    assert bits_recalled(0.25, num_items=3, num_cues=4) == 0.0
    assert bits_recalled(0.1, num_items=3, num_cues=4) == 0.0
    # Of two symbols, p = 0.9: 1 - H(0.9) = 1 + 0.9 log2 0.9 + 0.1 log2 0.1.
    assert bits_recalled(0.9, num_items=1, num_cues=2) == pytest.approx(0.5310044, abs=1e-7)
    # Of four, p = 1/2 and 1/6 for each other: 2 - (1/2 + 1/2 log2 6) = 1.5 - 1.2924813.
    assert bits_recalled(0.5, num_items=2, num_cues=4) == pytest.approx(2 * 0.2075187, abs=1e-6)


def test_statistics_over_strata_pool_runs_or_count_strata_alike():
    strata = [np.array([0.0, 1.0, 2.0, 9.0]), np.array([3.0, 4.0, 5.0, 100.0])]
    assert pooled_mean(*strata) == pytest.approx(15.5)
    # Sorted: 0 1 2 3 4 5 9 100; a quarter of eight at either end is two.
    assert pooled_interquartile_mean(*strata) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert mean_over_strata(np.array([0.0, 0.0, 3.0]), np.array([5.0])) == pytest.approx(3.0)


def test_cells_in_which_seeds_come_to_the_same_say_no_more_than_one():
    values = [0.1, 0.5, 0.6, 0.8, 0.9]
    assert interval_over_seeds([values] * 3, mean_over_strata) == pytest.approx(bootstrap_interval(values))
    opposed = interval_over_seeds([values, [1 - value for value in values]], mean_over_strata)
    assert opposed == (pytest.approx(0.5), pytest.approx(0.5))


def test_strata_are_resampled_within_themselves():
    # The second stratum always gives five ones; seeds drawn from all ten would sometimes give fewer.
    zeros, ones = [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]
    found = interval_over_seeds([zeros, ones], pooled_mean)
    # A resample of the first has no one in 33 % of cases and three or fewer in 99.3 %, as above.
    assert found == (pytest.approx(0.5), pytest.approx(0.8))


def test_probability_of_improvement_by_hand():
    # 3 beats 1 and 2, 1 ties with 1 and loses to 2: (2 + 1/2) / 4; in the other stratum ours always loses.
    assert probability_of_improvement([[3, 1], [0]], [[1, 2], [1, 1, 5]]) == pytest.approx(0.625 / 2)
    assert probability_of_improvement([[1, 2]], [[1, 2]]) == 0.5


# Fixed arrays, runs x tasks, and what rliable gives for them (google-research/rliable, metrics_test.py). Its
# medians are of the tasks' means, which are not computed here; a tie between equal columns counts half.
RLIABLE_X = np.array([[1, 2], [2, 2], [1, 1], [2, 1]])
RLIABLE_Y = np.array([[1, 1], [2, 2], [3, 3]])


def test_statistics_agree_with_rliable_s_on_its_own_arrays():
    x, y = RLIABLE_X.T.tolist(), RLIABLE_Y.T.tolist()
    for strata, mean in ((x, 1.5), (y, 2)):
        assert mean_over_strata(*map(np.asarray, strata)) == pytest.approx(mean, abs=1e-6)
        assert pooled_interquartile_mean(*map(np.asarray, strata)) == pytest.approx(mean, abs=1e-6)
    assert probability_of_improvement(x, y) == pytest.approx(1 / 3, abs=1e-6)
    assert probability_of_improvement(y, x) == pytest.approx(2 / 3, abs=1e-6)


def test_statistics_agree_with_rliable_s_definitions():
    """Agarwal et al. 2021: U of Mann and Whitney over the number of pairs, scipy's trimmed mean, shares."""
    random = np.random.default_rng(11)
    ours, theirs = random.integers(0, 9, (6, 4)) / 8, random.integers(0, 9, (7, 4)) / 8
    wins = [
        mannwhitneyu(x, y, alternative="greater").statistic / (6 * 7)
        for x, y in zip(ours.T, theirs.T, strict=True)
    ]
    x, y = ours.T.tolist(), theirs.T.tolist()
    assert probability_of_improvement(x, y) == pytest.approx(np.mean(wins), abs=1e-6)
    assert pooled_interquartile_mean(*ours.T) == pytest.approx(trim_mean(ours.ravel(), 0.25), abs=1e-6)
    assert interquartile_mean(ours.ravel().tolist()) == pytest.approx(trim_mean(ours.ravel(), 0.25))
    thresholds = np.linspace(0, 1, 17)
    shares = [np.mean(ours > threshold) for threshold in thresholds]
    assert performance_profile(x, thresholds) == pytest.approx(shares, abs=1e-6)


def test_interval_of_an_improvement_is_that_of_resampled_runs():
    """The definition, resample by resample, by scipy's bootstrap of both sides."""

    def share_of_wins(x, y, axis):
        return np.sign(x[..., :, None] - y[..., None, :]).mean((-2, -1)) / 2 + 0.5

    random = np.random.default_rng(2)
    ours, theirs = ((random.integers(0, 9, size) / 8).tolist() for size in (5, 7))
    expected = bootstrap([ours, theirs], share_of_wins, method="percentile", rng=np.random.default_rng(0))
    found = improvement_interval([ours], [theirs])
    assert found == improvement_interval([ours] * 2, [theirs] * 2)
    assert found == pytest.approx(tuple(expected.confidence_interval), abs=1e-9)


def test_interval_of_an_improvement():
    ours, theirs = [[0.1, 0.4, 0.6, 0.8, 1.0]], [[0.0, 0.2, 0.5, 0.7, 0.9]]
    found, mirrored = improvement_interval(ours, theirs), improvement_interval(theirs, ours)
    assert found is not None and mirrored is not None
    # 1 + 2 + 3 + 4 + 5 of 25 pairs are won.
    assert probability_of_improvement(ours, theirs) == pytest.approx(15 / 25)
    assert 0 < found.low < 0.6 < found.high < 1
    assert mirrored.low == pytest.approx(1 - found.high, abs=0.05)


@pytest.mark.parametrize(
    ("strata", "why"),
    [
        ([[0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.2]], "fewer than 5 seeds"),
        ([[1.0] * 5, [0.5] * 6], "all seeds equal"),
        ([[1.0] * 5, [0.5, 0.6, 0.5, 0.5, 0.5]], ""),
        ([], "fewer than 5 seeds"),
    ],
)
def test_why_there_is_no_interval(strata, why):
    assert why_no_interval(strata) == why
    assert (interval_over_seeds(strata, pooled_mean) is None) == bool(why)


def test_performance_profile_by_hand():
    # Above 0: 2/2 and 2/4; above a half (not at it): 1/2 and 1/4; above 1: none.
    profile = performance_profile([[0.5, 1.0], [0.0, 0.0, 0.5, 0.8]], [0, 0.5, 1])
    assert profile.tolist() == [0.75, 0.375, 0]


def test_interval_of_a_performance_profile():
    assert profile_interval([[0.1, 0.2, 0.3, 0.4]], [0.5]) is None
    # Of five runs one is above a half: a resample has none in 33 % of cases, three or fewer in 99.3 %; see
    # test_interval_of_a_share. Above 1 there is none.
    found = profile_interval([[0, 0, 1, 0, 0]], [0.5, 1])
    assert found is not None
    assert [ends.tolist() for ends in found] == [[0, 0], pytest.approx([0.6, 0])]
    # Beside a stratum that is always above, which counts alike.
    low, high = profile_interval([[0, 0, 1, 0, 0], [0.9] * 7], [0.5]) or ([], [])
    assert (low[0], high[0]) == (pytest.approx(0.5), pytest.approx(0.8))


def test_wilson_interval_by_hand():
    # Where |p - share| = z sqrt(p (1 - p) / n), solved for p (Wilson 1927).
    z, n, p = 1.959963985, 10, 0.9
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson_interval(9, 10) == (pytest.approx(centre - half), pytest.approx(centre + half))
    assert wilson_interval(1000, 1000) == (pytest.approx(1000 / (1000 + z**2)), pytest.approx(1.0))


def test_median_time_is_where_the_kaplan_meier_curve_falls_below_half():
    random = np.random.default_rng(3)
    for _ in range(50):
        times, budget = random.integers(1, 60, size=random.integers(1, 9)).astype(float), 40.0
        censored = times > budget
        curve = ecdf(CensoredData.right_censored(np.minimum(times, budget), censored)).sf
        below = curve.quantiles[curve.probabilities < 0.5]
        found = median_time(np.where(censored, NAN, times), np.minimum(times, budget))
        assert found == ((below[0], False) if len(below) else (budget, True))


def test_interval_of_a_median_time():
    # The band is exp(-exp(log(-log S) -+ 1.96 se / |log S|)), where se^2 = sum of 1 / (n (n - 1)) so far.
    # At the first of ten, S = 0.9 and se^2 = 1/90: from 0.473 on. At the seventh, S = 0.3 and
    # se^2 = 1/3 - 1/10: up to 0.578. At the eighth, S = 0.2 and se^2 = 1/2 - 1/10: up to 0.475.
    times = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert median_time_interval(times, times) == (10, 80)
    seven = [*times[:7], NAN, NAN, NAN]
    assert median_time_interval(seven, [*times[:7], 75, 75, NEVER]) == (10, NEVER)


def test_a_median_time_without_an_interval():
    assert median_time_interval([10, 20, 30, 40], [10, 20, 30, 40]) is None
    assert median_time_interval([NAN] * 5, [80] * 5) is None
