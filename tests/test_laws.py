"""Every law, over every architecture in the table."""

import pytest

from membench.catalogue import architecture_table, build_memory, memory_options
from membench.check import INPUT_SIZE, TEST_SIZES, examine_law
from membench.laws import HARNESS_LAWS, LAWS, STEPS


@pytest.mark.parametrize("law", LAWS | HARNESS_LAWS)
@pytest.mark.parametrize("architecture", architecture_table())
def test_law(architecture, law):
    sizes = {key: value for key, value in TEST_SIZES.items() if key in memory_options(architecture)}
    result = examine_law(
        law,
        (LAWS | HARNESS_LAWS)[law],
        lambda: build_memory(architecture, INPUT_SIZE, context_length=STEPS, **sizes),
    )
    assert result.passed, result.detail
