"""Statistics over seeds, against values worked out by hand."""

import math

import pytest

from membench.stats import bits_recalled, bootstrap_interval, interquartile_mean, median_time

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
