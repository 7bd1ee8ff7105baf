"""The harness keeps episodes apart: padding, boundaries, truncation, and one policy however it is run."""

import math
from dataclasses import replace
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from membench import ppo, supervised
from membench.agent import Agent
from membench.catalogue import architecture_table, build_memory
from membench.check import TEST_SIZES, small_options
from membench.config import PPOConfig, TaskConfig
from membench.envs import make_task
from membench.errors import InputError
from membench.heads import CategoricalHead, GaussianHead
from membench.rollout import Rollout, collect_open_loop, collect_stepping, draw_noise

ARCHITECTURES = list(architecture_table())

LATE = {"reward_delay": 3}
RAGGED = {"num_items": 3, "min_horizon": 0, "horizon": 20}
RAGGED_AND_LATE = {"name": "Overwrite-v0", "num_items": 2, "min_horizon": 1, "horizon": 4, "reward_delay": 2}


def make_agent(architecture="gru", num_inputs=4, num_actions=4, gaussian=False, context_length=40):
    torch.manual_seed(0)
    options = small_options(architecture)
    memory = build_memory(architecture, num_inputs, options, context_length=context_length)
    head = GaussianHead(num_actions) if gaussian else CategoricalHead()
    agent = Agent(memory, head, num_actions)
    torch.nn.init.normal_(agent.policy_head.weight)  # a policy with something to lose
    return agent


def task_envs(agent, num_envs=6, **options):
    task = make_task(TaskConfig(**{"horizon": 5, **options}))
    return task.vector_env(num_envs, discrete=agent.head.discrete, autoreset_mode=AutoresetMode.DISABLED)


def rollout_of(agent, collect=collect_open_loop, envs=None, seed=0):
    envs = envs or task_envs(agent)
    noise = draw_noise(agent, envs, torch.Generator().manual_seed(seed))
    return collect(agent, envs, seed=seed, noise=noise)


def losses_of(agent, rollout):
    config = PPOConfig()
    advantages = ppo.generalised_advantages(rollout, config.discount, config.gae_lambda)
    return ppo.losses(agent, rollout, advantages, advantages + rollout.values, config, 0.01)


class Ragged(gymnasium.Env):
    """Episodes of random length that end by termination or, at the limit, by truncation."""

    observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length, self.time = int(self.np_random.integers(2, 12)), 0
        return self.observe(), {}

    def step(self, action):
        self.time += 1
        return self.observe(), float(np.all(action == 1)), self.time == self.length, False, {}

    def observe(self):
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)


def ragged_envs(num_envs=8, limit=8):
    spec = gymnasium.envs.registration.EnvSpec("Ragged-v0", entry_point=Ragged, max_episode_steps=limit)
    envs = SyncVectorEnv([lambda: gymnasium.make(spec)] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)
    envs.spec = spec
    return envs


@pytest.mark.parametrize("gaussian", [False, True], ids=["categorical", "gaussian"])
@pytest.mark.parametrize("num_items", [1, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_open_loop_and_stepping_give_the_same_rollout_and_gradient(architecture, num_items, gaussian):
    agent = make_agent(architecture, num_inputs=4 + (num_items > 1), gaussian=gaussian)
    assert_open_loop_equals_stepping(agent, task_envs(agent, num_items=num_items))


@pytest.mark.parametrize("gaussian", [False, True], ids=["categorical", "gaussian"])
@pytest.mark.parametrize("options", [LATE, RAGGED, RAGGED_AND_LATE], ids=["late", "ragged", "both"])
@pytest.mark.parametrize("architecture", ["gru", "transformer", "gru_pmm"])
def test_so_they_do_where_delays_vary_and_rewards_are_late(architecture, options, gaussian):
    agent = make_agent(
        architecture, num_inputs=make_task(TaskConfig(**options)).observation_size, gaussian=gaussian
    )
    envs = task_envs(agent, **options)
    lengths = rollout_of(agent, envs=envs).mask.sum(1).unique()
    assert (len(lengths) > 1) == ("min_horizon" in options)
    assert options is not RAGGED or max(lengths) < envs.task.max_episode_steps  # nobody waits the longest
    assert_open_loop_equals_stepping(agent, envs)


def assert_open_loop_equals_stepping(agent, envs):
    together = rollout_of(agent, collect_open_loop, envs)
    stepped = rollout_of(agent, collect_stepping, envs)
    for name, one in vars(together).items():
        torch.testing.assert_close(one, vars(stepped)[name], atol=1e-5, rtol=1e-5, msg=name)
    gradients = []
    for rollout in (together, stepped):
        agent.zero_grad()
        losses_of(agent, rollout).total.backward()
        gradients.append([p.grad for p in agent.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("collect", [collect_open_loop, collect_stepping])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_first_minibatch_has_ratio_1_and_kl_0(architecture, collect):
    agent = make_agent(architecture)
    rollout = rollout_of(agent, collect)
    outputs, _ = agent.evaluate(rollout.observations)
    ratio = (agent.head.log_prob(outputs, rollout.actions) - rollout.log_probs).exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0)
    first = losses_of(agent, rollout)
    assert abs(float(first.kl)) < 1e-5 and float(first.clip_fraction) == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padded_rows_equal_separate_episodes_and_padding_changes_nothing(architecture):
    agent = make_agent(architecture)
    rollout = rollout_of(agent, collect_stepping, ragged_envs(num_envs=20))
    lengths = rollout.mask.sum(1).tolist()
    assert len(set(lengths)) > 2
    outputs, values = agent.evaluate(rollout.observations)
    for row, length in enumerate(lengths):
        alone, alone_values = agent.evaluate(rollout.observations[row : row + 1, :length])
        torch.testing.assert_close(outputs[row, :length], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(values[row, :length], alone_values[0], atol=1e-5, rtol=1e-5)

    padded = Rollout(
        **{
            name: x if name == "bootstrap" else torch.cat([x, torch.ones_like(x[:, :5])], dim=1)
            for name, x in vars(rollout).items()
        }
    )
    padded.mask[:, -5:] = False
    results = []
    for one in (rollout, padded):
        agent.zero_grad()
        loss = losses_of(agent, one)
        loss.total.backward()
        results.append([*(x.detach() for x in vars(loss).values()), *(p.grad for p in agent.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_an_episode_does_not_touch_another():
    agent = make_agent()
    rollout = rollout_of(agent)
    observations = rollout.observations.clone()
    observations[2] += 1
    before, after = agent.evaluate(rollout.observations)[0], agent.evaluate(observations)[0]
    others = [row for row in range(6) if row != 2]
    torch.testing.assert_close(before[others], after[others])
    assert not torch.allclose(before[2], after[2])


def test_each_environment_contributes_one_episode():
    agent, envs = make_agent(), ragged_envs(num_envs=50, limit=8)
    rollout = rollout_of(agent, collect_stepping, envs)
    lengths = rollout.mask.sum(1)
    assert len(lengths) == 50
    assert torch.equal(rollout.mask, torch.arange(rollout.mask.shape[1]) < lengths.unsqueeze(1))
    # Lengths are uniform over 2 ... 11, cut at 8: a mean of 6.2, and a third or more are cut.
    assert 5.2 < lengths.float().mean() < 7.0
    assert (rollout.bootstrap != 0).equal((lengths == 8) & (rollout.bootstrap != 0))


def test_truncation_bootstraps_and_termination_does_not():
    agent, envs = make_agent(), ragged_envs(num_envs=30, limit=8)
    rollout = rollout_of(agent, collect_stepping, envs)
    # The environment terminates after `length` steps; only longer ones meet the limit first.
    planned = np.array([env.unwrapped.length for env in ragged_reset(30)])
    truncated = torch.as_tensor(planned > 8)
    assert truncated.any() and not truncated.all()
    assert torch.equal(rollout.bootstrap != 0, truncated)


def ragged_reset(num_envs):
    envs = ragged_envs(num_envs)
    envs.reset(seed=0)
    return envs.envs


def test_bootstrap_is_the_value_of_the_state_after_the_last_step():
    agent, envs = make_agent(), ragged_envs(num_envs=30, limit=8)
    rollout = rollout_of(agent, collect_stepping, envs)
    row = int(rollout.bootstrap.nonzero()[0])
    replay = ragged_reset(30)[row]
    observations = [rollout.observations[row, 0]]
    for action in rollout.actions[row].tolist():
        observations.append(torch.as_tensor(replay.step(action)[0]))
    _, values = agent.evaluate(torch.stack(observations).unsqueeze(0))
    torch.testing.assert_close(rollout.bootstrap[row], values[0, -1], atol=1e-5, rtol=1e-5)


def test_an_environment_that_hides_last_observations_is_refused():
    agent = make_agent()
    envs = make_task(TaskConfig()).vector_env(2, discrete=True)
    with pytest.raises(InputError, match="NEXT_STEP or DISABLED"):
        rollout_of(agent, collect_stepping, envs)


def test_an_environment_without_a_time_limit_is_refused():
    with pytest.raises(InputError, match="time limit"):
        rollout_of(make_agent(), collect_stepping, ragged_envs(limit=None))


def test_advantages_equal_a_loop_over_each_episode():
    rollout = rollout_of(make_agent(), collect_stepping, ragged_envs(num_envs=20))
    found = ppo.generalised_advantages(rollout, 0.9, 0.8)
    for row, length in enumerate(rollout.mask.sum(1).tolist()):
        advantage, next_value = 0.0, float(rollout.bootstrap[row])
        assert not found[row, length:].any()
        for step in reversed(range(length)):
            value = float(rollout.values[row, step])
            advantage = float(rollout.rewards[row, step]) + 0.9 * next_value - value + 0.9 * 0.8 * advantage
            next_value = value
            assert float(found[row, step]) == pytest.approx(advantage, abs=1e-5)


@pytest.mark.parametrize("gaussian", [False, True], ids=["categorical", "gaussian"])
def test_losses_equal_a_loop_over_real_steps(gaussian):
    """Schulman et al. 2017, equations 7 and 9, with numbers of Python and distributions of PyTorch."""
    agent = make_agent(gaussian=gaussian)
    rollout, advantages, returns = acted_otherwise(agent)
    with torch.no_grad():
        outputs, values = agent.evaluate(rollout.observations)
    if gaussian:
        normal = torch.distributions.Normal(outputs, agent.head.log_std.detach().exp())
        policies = torch.distributions.Independent(normal, 1)
    else:
        policies = torch.distributions.Categorical(logits=outputs)
    log_probs, entropies = policies.log_prob(rollout.actions), policies.entropy()
    by_step = []
    for at in rollout.mask.nonzero().tolist():
        new, old, advantage = (float(x[*at]) for x in (log_probs, rollout.log_probs, advantages))
        ratio = math.exp(new - old)
        clipped = min(max(ratio, 0.8), 1.2)
        by_step.append(
            (
                -min(ratio * advantage, clipped * advantage),
                float(returns[*at] - values[*at]) ** 2,
                float(entropies[*at]),
                ratio - 1 - (new - old),
                clipped != ratio,
            )
        )
    policy, value, entropy, kl, clip_fraction = np.mean(by_step, axis=0)
    assert 0.1 < clip_fraction < 0.9
    found = ppo.losses(agent, rollout, advantages, returns, PPOConfig(clip_range=0.2), 0.01)
    assert {name: loss.item() for name, loss in vars(found).items()} == pytest.approx(
        {
            "total": policy + 0.5 * value - 0.01 * entropy,
            "policy": policy,
            "value": value,
            "entropy": entropy,
            "kl": kl,
            "clip_fraction": clip_fraction,
        },
        rel=1e-4,
    )


def test_losses_of_parts_add_up_to_those_of_the_whole():
    agent = make_agent()
    rollout, advantages, returns = acted_otherwise(agent)
    whole = vars(ppo.losses(agent, rollout, advantages, returns, PPOConfig(), 0.01))
    num_steps = rollout.mask.sum()
    parts = []
    for rows in (torch.arange(3), torch.arange(3, 20)):
        part = rollout.rows(rows)
        length = part.mask.shape[1]
        these = (x[rows, :length] for x in (advantages, returns))
        parts.append(vars(ppo.losses(agent, part, *these, PPOConfig(), 0.01, num_steps)))
    for name, loss in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], loss, msg=name)


def acted_otherwise(agent):
    """A ragged rollout as another policy acted, its advantages and its returns."""
    rollout = rollout_of(agent, collect_stepping, ragged_envs(num_envs=20))
    other = 0.3 * torch.randn(rollout.log_probs.shape, generator=torch.Generator().manual_seed(0))
    advantages = ppo.generalised_advantages(rollout, 0.9, 0.8)
    found = ppo.normalised(advantages, rollout.mask)
    real = found[rollout.mask]
    assert float(real.mean()) == pytest.approx(0, abs=1e-6)
    assert float(real.std(correction=0)) == pytest.approx(1, rel=1e-4)
    return replace(rollout, log_probs=rollout.log_probs + other), found, advantages + rollout.values


def test_a_late_reward_reaches_its_answer_discounted_once_per_step():
    agent = make_agent(num_inputs=5)
    rollout = rollout_of(
        agent, envs=task_envs(agent, num_envs=20, **RAGGED | {"num_items": 1, "reward_delay": 3})
    )
    rollout = replace(rollout, values=torch.zeros_like(rollout.values))
    advantages = ppo.generalised_advantages(rollout, 0.9, 1.0)
    assert rollout.correct.any() and not rollout.rewards[rollout.asked].any()
    torch.testing.assert_close(advantages[rollout.asked], 0.9**3 * rollout.correct.any(1))
    torch.testing.assert_close(rollout.rewards.sum(1), rollout.correct.sum(1).float())


def test_answers_are_told_at_the_questions_wherever_those_are():
    agent = make_agent(num_inputs=5)
    rollout = rollout_of(agent, envs=task_envs(agent, **RAGGED_AND_LATE))
    outputs = agent.evaluate(rollout.observations)[0].detach()
    expected = -outputs.log_softmax(-1)[rollout.asked].gather(1, rollout.targets[rollout.asked].unsqueeze(1))
    assert len(expected) == len(rollout.mask)
    found = supervised.update(
        agent, torch.optim.SGD(agent.parameters(), lr=0.0), rollout, PPOConfig(), generator=torch.Generator()
    )
    assert found.policy_loss == pytest.approx(float(expected.mean()), rel=1e-5)


def test_supervised_recall_makes_as_many_updates_as_ppo():
    agent = make_agent()
    rollout = rollout_of(agent)
    config = PPOConfig(num_epochs=2, num_minibatches=3)
    generator = torch.Generator().manual_seed(0)
    parts = list(ppo.minibatches(rollout, config, generator))
    epochs = [torch.cat(parts[:3]), torch.cat(parts[3:])]
    assert [sorted(epoch.tolist()) for epoch in epochs] == [list(range(6))] * 2

    class Counting(torch.optim.SGD):
        updates = 0

        def step(self, *arguments):
            Counting.updates += 1
            return super().step(*arguments)

    supervised.update(agent, Counting(agent.parameters(), lr=0.0), rollout, config, generator=generator)
    assert Counting.updates == 6


def test_the_document_s_snippets_work():
    agent = make_agent("gru_pmm")
    obs, state = np.eye(4, dtype=np.float32)[1], None
    assert not agent.initial_state()["hidden"].any()
    hidden_states = []
    for _ in range(5):
        action, log_prob, value, state, extras = agent(obs, state)
        hidden_states.append(state["hidden"].cpu().numpy())
        assert action.shape == log_prob.shape == value.shape == ()
        assert extras["policy"].shape == (4,)
        assert not (log_prob.requires_grad or value.requires_grad or state["hidden"].requires_grad)
    assert np.stack(hidden_states).shape == (5, 16)
    assert not any(np.shares_memory(a, b) for a, b in pairwise(hidden_states))
    assert not np.allclose(hidden_states[0], hidden_states[1])

    before = {name: leaf.clone() for name, leaf in state.items()}
    weights = agent.get_attention_weights(obs, state)
    assert weights.shape == (4, TEST_SIZES["num_slots"])
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    assert all(torch.equal(leaf, before[name]) for name, leaf in state.items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_environment_acts_as_a_batch_of_one(architecture):
    agent = make_agent(architecture)
    observations, state, batched = torch.randn(6, 4), agent.initial_state(), agent.initial_state(1)
    assert state["hidden"].dim() == 1
    for obs in observations:
        noise = torch.zeros(4)
        action, log_prob, value, state, _ = agent(obs, state, noise)
        with torch.no_grad():
            expected = agent(obs.unsqueeze(0), batched, noise)
        batched = expected[3]
        assert action == expected[0][0]
        torch.testing.assert_close((log_prob, value), (expected[1][0], expected[2][0]))
        torch.testing.assert_close(state["hidden"], batched["hidden"][0])


def test_a_memory_without_attention_says_so():
    with pytest.raises(InputError, match="GRU: has no attention"):
        make_agent("gru").get_attention_weights(torch.zeros(4))
