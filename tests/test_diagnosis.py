"""Diagnosis at initialisation finds the faults that it is there for."""

import pytest
import torch

from membench.config import build_config, merge, nest
from membench.diagnosis import diagnose, diagnose_agent
from membench.envs import make_task
from membench.training import Training


def diagnose_with(architecture="gru", **settings):
    small = {"architecture": architecture, "memory": {"hidden_size": 64}}
    return diagnose(build_config(merge(small, settings)))


def test_gates_without_long_time_constants_lose_the_cue():
    sound = diagnose_with(**nest("task.horizon", 100))
    lost = diagnose_with(memory={"gate_timescales": "none"}, **nest("task.horizon", 100))
    assert sound.cue_distance > 0.01 > 1e-6 > lost.cue_distance
    assert sound.cue_gradient > 1e-3 > 1e-6 > lost.cue_gradient


def test_a_shut_gate_gives_the_cue_no_gradient():
    """Mamba without biases on its gate answers a zero observation with zeros."""
    shut = diagnose_with("mamba", memory={"mamba_ssm": True})
    sound = diagnose_with("mamba")
    assert (shut.feature_norm, shut.cue_distance, shut.cue_gradient) == (0.0, 0.0, 0.0)
    assert sound.cue_distance > 1e-3


@pytest.mark.parametrize("more", [{}, {"reward_delay": 100}, {"min_horizon": 50}])
def test_a_revealed_cue_needs_no_memory(more):
    task = {"horizon": 100, "reveal_cue": True} | more
    assert diagnose_with(memory={"gate_timescales": "none"}, task=task).cue_distance > 0.1


@pytest.mark.parametrize("task", ["CueMemory-v0", "AssociativeRecall-v0"])
def test_shares_are_shares_and_the_agent_stays_as_it_is(task):
    config = build_config({"architecture": "gru", "task": {"name": task, "num_items": 2}})
    agent = Training(config, 0.0).agent
    before = {name: tensor.clone() for name, tensor in agent.state_dict().items()}
    found = diagnose_agent(agent, make_task(config.task), config.ppo)
    assert 0 < found.question_share < 1
    assert 0 <= found.cue_gradient <= 1
    assert all(torch.equal(before[name], tensor) for name, tensor in agent.state_dict().items())
    assert all(parameter.grad is None for parameter in agent.parameters())
