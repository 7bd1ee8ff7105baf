"""The suites' own settings teach the memories something: the quick profile's promise, at its full size."""

import pytest

from membench.execute import available_cores, run_all
from membench.suite import load_suite, plan_runs


@pytest.mark.slow
def test_at_horizons_5_and_10_at_least_four_of_five_memories_are_solved_in_every_seed(tmp_path):
    suite = load_suite("horizons")
    configs = [config for config in plan_runs(suite, "quick") if config.task.horizon <= 10]
    assert len(configs) == 2 * 5 * 3
    records = run_all(configs, tmp_path, num_jobs=available_cores(), on_change=lambda standing: None)
    for horizon in (5, 10):
        unsolved = {r.architecture for r in records if r.horizon == horizon and r.status != "solved"}
        assert len(unsolved) <= 1, f"horizon {horizon}: {unsolved}"


@pytest.mark.slow
@pytest.mark.parametrize("architecture", load_suite("horizons").architectures)
def test_two_items_are_recalled_better_than_a_memoryless_agent_could(architecture, tmp_path):
    overrides = {"task": {"num_items": 2}, "total_timesteps": 80_000}
    configs = plan_runs(
        load_suite("horizons"), "quick", architectures=[architecture], num_seeds=2, overrides=overrides
    )
    records = run_all(configs[:2], tmp_path, num_jobs=2, on_change=lambda standing: None)
    assert all(record.success is not None and record.success > 0.4 for record in records), records
