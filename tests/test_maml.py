"""Meta-learning: the inner steps and the gradient through them, and whether weights learn to adapt."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from membench.agent import build_agent
from membench.config import MAMLConfig, RunConfig, TaskConfig, build_config, merge
from membench.envs import OpenLoopTask, make_task
from membench.errors import InputError
from membench.maml import EpisodeOutputs, adapt, draw_meta_task, lesson_loss
from membench.train import train

CPU = torch.device("cpu")
SMALL = {"hidden_size": 8, "num_layers": 1, "fused": False}


def cue_task(**options) -> OpenLoopTask:
    task = make_task(TaskConfig(horizon=1, **options))
    assert isinstance(task, OpenLoopTask)
    return task


def make_network(task):
    torch.manual_seed(0)
    network = EpisodeOutputs(build_agent(RunConfig(architecture="gru", memory=SMALL), task)).double()
    nn.init.orthogonal_(network.agent.policy_head.weight)  # initially near zero, which hides gradients
    return network


def in_double(lesson):
    return type(lesson)(lesson.observations.double(), lesson.asked, lesson.answers, lesson.num_steps)


def run_config(memory=None, **settings):
    small = {
        "architecture": "gru",
        "memory": memory or SMALL | {"hidden_size": 32},
        "task": {"horizon": 0},
        "objective": "maml",
        "maml": {"num_tasks": 4, "num_support_episodes": 8, "num_query_episodes": 8},
        "ppo": {"learning_rate": 1e-2},
        "evaluation": {"interval": 1000, "num_episodes": 16, "num_final_episodes": 64},
        "total_timesteps": 5000,
    }
    return build_config(merge(small, settings))


def test_a_mapping_is_a_permutation_that_support_and_query_share():
    config, random = MAMLConfig(num_support_episodes=40, num_query_episodes=40), np.random.default_rng(0)
    mappings = set()
    for _ in range(200):
        drawn = draw_meta_task(cue_task(), config, random, CPU)
        names = [
            dict(zip(lesson.observations[:, 0].argmax(-1).tolist(), lesson.answers.tolist(), strict=True))
            for lesson in drawn
        ]
        assert names[0] == names[1]
        assert sorted(names[0].values()) == [0, 1, 2, 3]
        mappings.add(tuple(names[0][cue] for cue in range(4)))
    assert len(mappings) == 24


def test_inner_steps_are_plain_gradient_descent():
    task = cue_task()
    config = MAMLConfig(num_inner_steps=3, inner_learning_rate=0.2)
    support = in_double(draw_meta_task(task, config, np.random.default_rng(1), CPU).support)
    network, by_hand = make_network(task), make_network(task)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    adapted = adapt(network, support, config)
    for _ in range(3):
        by_hand.zero_grad()
        F.cross_entropy(by_hand(support.observations)[support.asked], support.answers).backward()
        with torch.no_grad():
            for parameter in by_hand.parameters():
                parameter -= 0.2 * (0 if parameter.grad is None else parameter.grad)
    for name, parameter in by_hand.named_parameters():
        torch.testing.assert_close(adapted[name], parameter, rtol=0, atol=1e-12)
        assert torch.equal(dict(network.named_parameters())[name], before[name])


def test_the_outer_gradient_runs_through_the_inner_steps():
    """Finite differences see the whole; a first-order gradient misses what this one has."""
    task, config = cue_task(), MAMLConfig(num_inner_steps=2, inner_learning_rate=0.5)
    support, query = (in_double(part) for part in draw_meta_task(task, config, np.random.default_rng(2), CPU))
    network = make_network(task)
    weight = network.agent.policy_head.weight

    def outer_loss():
        return lesson_loss(adapt(network, support, config), network, query)

    outer_loss().backward()
    second_order = weight.grad[1, 2].item()
    adapted = {name: x.detach().requires_grad_() for name, x in adapt(network, support, config).items()}
    lesson_loss(adapted, network, query).backward()
    first_order = adapted["agent.policy_head.weight"].grad[1, 2].item()
    values = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight[1, 2] += step
            values.append(outer_loss().item())
            weight[1, 2] -= step
    difference = (values[0] - values[1]) / 2e-5
    assert second_order == pytest.approx(difference, rel=1e-5)
    assert abs(first_order - difference) > 0.01 * abs(difference)


@pytest.mark.parametrize(("num_inner_steps", "expected"), [(5, 1.0), (0, 0.25)])
def test_weights_learn_to_adapt_and_without_inner_steps_nothing_can_be_known(num_inner_steps, expected):
    record = train(run_config(maml={"num_inner_steps": num_inner_steps}))
    assert record.success == pytest.approx(expected, abs=0.1)
    assert record.status == ("solved" if expected == 1.0 else "unsolved")
    # 4 mappings of 8 + 8 episodes of 2 steps an update.
    assert record.steps % (4 * 16 * 2) == 0


def test_a_run_is_reproducible():
    config = run_config(total_timesteps=256, evaluation={"interval": 100})
    first, second = train(config), train(config)
    assert [point.success for point in first.curve] == [point.success for point in second.curve]
    assert (first.success, first.sampled_success) == (second.success, second.sampled_success)
    assert first.curve[-1].grad_norm == second.curve[-1].grad_norm


@pytest.mark.parametrize("architecture", ["transformer", "lstm", "gru_pmm"])
def test_other_memories_adapt_too(architecture):
    memory = {"hidden_size": 16} | ({"fused": False} if architecture == "gru_pmm" else {})
    config = run_config(memory, architecture=architecture, total_timesteps=100)
    assert train(config).curve[-1].grad_norm > 0


def test_a_memory_without_a_second_derivative_is_named_with_the_remedy():
    with pytest.raises(InputError, match=r"'maml': GRU cannot be .* twice .* memory\.fused=false"):
        train(run_config({"hidden_size": 8}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ladder": True}, "objective 'maml': must not be set beside a ladder"),
        ({"task": {"name": "ActiveTMaze-v0"}}, r"legal for objective 'maml': tasks in which it does not"),
    ],
)
def test_what_it_cannot_do_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        train(run_config(**settings))
