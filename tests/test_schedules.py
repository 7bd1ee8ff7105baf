"""Schedules at points worked out by hand."""

import pytest

from membench.schedules import geometric, learning_rate


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("constant", 0.7, 0.1),
        ("cosine", 0.0, 0.1),
        ("cosine", 0.5, 0.05),
        ("cosine", 1.0, 0.0),
        ("step", 0.0, 0.1),
        ("step", 0.249, 0.1),
        ("step", 0.25, 0.05),
        ("step", 0.5, 0.025),
        ("step", 1.0, 0.0125),
    ],
)
def test_learning_rate(schedule, progress, expected):
    assert learning_rate(schedule, 0.1, progress) == pytest.approx(expected)


def test_unknown_schedule():
    with pytest.raises(ValueError, match="constant, cosine or step"):
        learning_rate("linear", 0.1, 0.5)


def test_entropy_is_annealed_geometrically():
    assert [geometric(0.05, 0.01, p) for p in (0, 1)] == pytest.approx([0.05, 0.01])
    assert geometric(0.04, 0.01, 0.5) == pytest.approx(0.02)
    assert geometric(0.0, 0.0, 0.3) == 0.0
