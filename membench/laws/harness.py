"""Laws of the harness with a memory in it: rollouts, padding, and the first minibatch of an update.

They run as training does, in float32, so a tolerance is 1e-5. Axes: b episode, t step.
"""

from collections.abc import Iterator
from dataclasses import fields, replace

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn

from membench.agent import Agent
from membench.config import PPOConfig, TaskConfig
from membench.envs.cue_memory import CueMemory
from membench.heads import CategoricalHead, GaussianHead, Head
from membench.laws.comparing import require, require_same
from membench.laws.subject import Build, seeded
from membench.ppo import generalised_advantages, losses, update
from membench.rollout import Rollout, collect_open_loop, collect_stepping, draw_noise

TOLERANCE = 1e-5
NUM_EPISODES = 5
HORIZON = 8
LENGTHS = (10, 1, 4, 7, 2)
"""Steps of the episodes of a ragged rollout."""


def padded_rows(build: Build) -> None:
    """A padded row gives the policy and values of its episode alone."""
    for agent, rollout in _ragged_rollouts(build):
        outputs, values = agent.evaluate(rollout.observations)
        for row, length in enumerate(LENGTHS):
            alone = agent.evaluate(rollout.observations[row : row + 1, :length])
            case = f"episode {row} of lengths {LENGTHS}, padded to {max(LENGTHS)}, against it alone"
            usually = "padding or another row reaches into the episode"
            require_same(outputs[row, :length], alone[0][0], TOLERANCE, f"policy of {case}", usually)
            require_same(values[row, :length], alone[1][0], TOLERANCE, f"values of {case}", usually)


def padding_is_silent(build: Build) -> None:
    """More padding, whatever it holds, changes neither advantages nor loss nor gradient."""
    for agent, rollout in _ragged_rollouts(build):
        expected, got = (
            _loss_and_gradients(agent, rollout),
            _loss_and_gradients(agent, _more_padding(rollout)),
        )
        usually = "a mean that counts padding, or a memory in which later steps reach earlier ones"
        for name, value in expected.items():
            case = f"{name} with more padding, against without"
            require_same(got[name].flatten(), value.flatten(), TOLERANCE, case, usually)


def independent_episodes(build: Build) -> None:
    """Perturbing one episode of a rollout leaves the policy and values of the others untouched."""
    for agent, rollout in _ragged_rollouts(build):
        for changed in (0, NUM_EPISODES - 1):
            observations = rollout.observations.clone()
            observations[changed] += 1.0
            others = [row for row in range(NUM_EPISODES) if row != changed]
            before, after = agent.evaluate(rollout.observations), agent.evaluate(observations)
            for name, was, now in zip(("policy", "values"), before, after, strict=True):
                case = f"{name} of other episodes after episode {changed} was perturbed"
                require_same(now[others], was[others], 1e-7, case, "rows are mixed in the memory")


def first_minibatch(build: Build) -> None:
    """Before its weights change, the policy that learns is the one that acted: ratio 1, divergence 0."""
    for agent, how, rollout in _rollouts(build):
        usually = "acting computes something else than training"
        outputs, values = agent.evaluate(rollout.observations)
        ratio = (agent.head.log_prob(outputs, rollout.actions) - rollout.log_probs).exp()
        case = f"of the first minibatch, {how}, {type(agent.head).__name__}"
        require_same(ratio, torch.ones_like(ratio), TOLERANCE, f"ratio {case}", usually)
        require_same(values, rollout.values, TOLERANCE, f"values {case}", usually)
        statistics = update(
            agent,
            torch.optim.SGD(agent.parameters(), lr=0.0),
            rollout,
            PPOConfig(num_envs=NUM_EPISODES, num_epochs=1),
            entropy_coefficient=0.01,
            generator=torch.Generator(),
        )
        require(abs(statistics.kl) <= TOLERANCE, f"divergence {case}: {statistics.kl:.2g}", usually)
        require(statistics.clip_fraction == 0, f"share of clipped ratios {case} is not 0", usually)


def open_loop_equals_stepping(build: Build) -> None:
    """Whole episodes in one call give the rollout that stepping gives."""
    rollouts = list(_rollouts(build))
    for (_, _, whole), (agent, _, stepped) in zip(rollouts[::2], rollouts[1::2], strict=True):
        for field in fields(Rollout):
            case = f"{field.name} of a rollout in one call, against stepping, {type(agent.head).__name__}"
            got, expected = getattr(whole, field.name), getattr(stepped, field.name)
            require_same(got, expected, TOLERANCE, case, "`step` computes something else than `forward`")


def _agents(build: Build) -> Iterator[Agent]:
    """Yield an agent per policy head, of ordinary gain, for near-uniform policies would hide faults."""
    for kind in (CategoricalHead, GaussianHead):
        with seeded(0):
            memory = build()
            head: Head = GaussianHead(memory.input_size) if kind is GaussianHead else CategoricalHead()
            agent = Agent(memory, head, num_actions=memory.input_size, observation_scale=3.0)
            nn.init.orthogonal_(agent.policy_head.weight)
        yield agent


def _rollouts(build: Build) -> Iterator[tuple[Agent, str, Rollout]]:
    """Yield rollouts of the same episodes and noise for each head: first open loop, then stepping."""
    for agent in _agents(build):
        task = CueMemory(TaskConfig(horizon=HORIZON, num_cues=agent.memory.input_size))
        envs = task.vector_env(
            NUM_EPISODES, discrete=agent.head.discrete, autoreset_mode=AutoresetMode.DISABLED
        )
        noise = draw_noise(agent, envs, torch.Generator().manual_seed(1))
        for how, collect in (("open loop", collect_open_loop), ("stepping", collect_stepping)):
            yield agent, how, collect(agent, envs, seed=2, noise=noise)


def _ragged_rollouts(build: Build) -> Iterator[tuple[Agent, Rollout]]:
    """Yield, per head, made-up episodes of several lengths, with the policy as it was a little earlier."""
    for agent in _agents(build):
        generator = torch.Generator().manual_seed(3)

        def normal(*shape: int, generator: torch.Generator = generator) -> Tensor:
            return torch.randn(NUM_EPISODES, max(LENGTHS), *shape, generator=generator)

        mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
        observations = normal(agent.memory.input_size) * mask.unsqueeze(-1)
        with torch.no_grad():
            outputs, values = agent.evaluate(observations)
            actions = agent.head.sample(outputs, agent.head.draw_noise(tuple(outputs.shape), generator))
            log_probs = agent.head.log_prob(outputs, actions) + 0.1 * normal()
        yield (
            agent,
            Rollout(
                observations=observations,
                actions=actions,
                log_probs=log_probs * mask,
                values=values * mask,
                rewards=normal() * mask,
                mask=mask,
                bootstrap=normal()[:, 0] * torch.tensor([1, 0, 1, 0, 1]),
                targets=mask.long() - 1,
                asked=mask,
                correct=mask,
            ),
        )


def _more_padding(rollout: Rollout) -> Rollout:
    """Return the same episodes with 3 more steps of padding, and with junk in all of it."""

    def padded(x: Tensor) -> Tensor:
        more = torch.cat([x, x.new_zeros(len(x), 3, *x.shape[2:])], dim=1)
        outside = ~mask.reshape(mask.shape + (1,) * (x.dim() - 2))
        return more.masked_fill(outside, 1 if not x.is_floating_point() else 7.0)

    mask = torch.cat([rollout.mask, rollout.mask.new_zeros(NUM_EPISODES, 3)], dim=1)
    names = ("observations", "actions", "log_probs", "values", "rewards", "targets", "asked", "correct")
    return replace(rollout, mask=mask, **{name: padded(getattr(rollout, name)) for name in names})


def _loss_and_gradients(agent: Agent, rollout: Rollout) -> dict[str, Tensor]:
    config = PPOConfig(num_envs=NUM_EPISODES)
    advantages = generalised_advantages(rollout, config.discount, config.gae_lambda)
    loss = losses(agent, rollout, advantages, advantages + rollout.values, config, entropy_coefficient=0.01)
    sources = {name: parameter for name, parameter in agent.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(
        loss.total, list(sources.values()), allow_unused=True, materialize_grads=True
    )
    found = {f"{field.name} loss": getattr(loss, field.name) for field in fields(loss)}
    found |= {f"gradient of {name}": gradient for name, gradient in zip(sources, gradients, strict=True)}
    return found | {"advantages": advantages[rollout.mask]}
