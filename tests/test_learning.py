"""The suites' own settings teach the memories something: the quick profile's promise, at its full size."""

import pytest
import torch

from architectures import pmm_addressed
from membench.execute import run_all
from membench.folders import weights_path
from membench.suite import load_suite, plan_runs
from membench.training import Training


@pytest.mark.slow
def test_at_horizons_5_and_10_all_but_one_memory_are_solved_in_every_seed(tmp_path):
    suite = load_suite("horizons")
    configs = [config for config in plan_runs(suite, "quick") if config.task.horizon <= 10]
    assert len(configs) == 2 * 6 * 3
    records = run_all(configs, tmp_path, on_change=lambda standing: None)
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
    records = run_all(configs[:2], tmp_path, on_change=lambda standing: None)
    assert all(record.success is not None and record.success > 0.4 for record in records), records


@pytest.mark.slow
def test_slots_alone_recall_values_by_key_and_nothing_else_does(tmp_path, monkeypatch):
    """Associative recall with a feed-forward controller: with what is read zeroed, the answer is chance."""
    configs = plan_runs(load_suite("recall"), "quick", architectures=["pmm_addressed"], num_seeds=3)
    assert all(config.memory["controller"] == "feedforward" for config in configs)
    records = run_all(configs, tmp_path, on_change=lambda standing: None)
    assert [record.status for record in records] == ["solved"] * 3
    read = pmm_addressed.write_and_read

    def read_nothing(*arguments):
        reads, content = read(*arguments)
        return torch.zeros_like(reads), content

    monkeypatch.setattr(pmm_addressed, "write_and_read", read_nothing)
    for record in records:
        training = Training(record.config, 0.0)
        weights = torch.load(weights_path(tmp_path, record.run_id), weights_only=True)
        training.agent.load_state_dict(weights)
        assert training.examine(1_000, training.random.final) < 0.25 + 4 * (0.25 * 0.75 / 1_000) ** 0.5
