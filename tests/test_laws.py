"""Every law, over every architecture in the table."""

import pytest

from membench.catalogue import architecture_table, build_memory, memory_options
from membench.check import INPUT_SIZE, TEST_SIZES
from membench.laws import HARNESS_LAWS, LAWS, STEPS


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
@pytest.mark.parametrize("law", LAWS | HARNESS_LAWS)
@pytest.mark.parametrize("architecture", architecture_table())
def test_law(architecture, law):
    sizes = {key: value for key, value in TEST_SIZES.items() if key in memory_options(architecture)}
    (LAWS | HARNESS_LAWS)[law](lambda: build_memory(architecture, INPUT_SIZE, context_length=STEPS, **sizes))
