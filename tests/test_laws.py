"""Every law, over every architecture in the table."""

import pytest

from membench.catalogue import architecture_table, build_memory
from membench.check import INPUT_SIZE, examine_law, small_options
from membench.laws import HARNESS_LAWS, LAWS, STEPS


@pytest.mark.parametrize("law", LAWS | HARNESS_LAWS)
@pytest.mark.parametrize("architecture", architecture_table())
def test_law(architecture, law):
    result = examine_law(
        law,
        (LAWS | HARNESS_LAWS)[law],
        lambda: build_memory(architecture, INPUT_SIZE, small_options(architecture), context_length=STEPS),
    )
    assert result.passed, result.detail
