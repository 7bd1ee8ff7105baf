"""Numbers as text."""

import pandas as pd
import pytest

from membench.report import text


@pytest.mark.parametrize(("value", "shown"), [(-0.001, "0.00"), (-0.01, "-0.01"), (0.996, "1.00")])
def test_no_share_is_less_than_nothing(value, shown):
    assert text.share(value) == shown


@pytest.mark.parametrize(
    ("cells", "are_numbers"),
    [
        (["1.00", "12,345", "> 40,000", "33 kB", "never", text.NOTHING], True),
        (["4,000–8,000", "16 of 20", "0.90 (5/5)"], True),
        (["1. Cue encoding", "10. Another phase"], False),
        (["all seeds equal", "0.71–1.00"], False),
        ([], False),
    ],
    ids=str,
)
def test_numbers_are_aligned_right_and_phases_are_none(cells, are_numbers):
    assert text.is_of_numbers(pd.Series(cells, dtype=str)) == are_numbers
