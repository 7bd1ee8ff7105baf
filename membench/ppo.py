"""Proximal policy optimisation on whole episodes: advantages, losses, one update.

Source: Schulman et al. 2017, arXiv 1707.06347; advantages: Schulman et al. 2016, arXiv 1506.02438. Axes:
b episode, t step. Every mean is over real steps; padding changes neither loss nor gradient.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from membench.agent import Agent
from membench.config import PPOConfig
from membench.rollout import Rollout

EXPLODED = 1e10
"""A loss or gradient norm of this size ends a run."""


class DivergenceError(ArithmeticError):
    """A loss or gradient that is no longer finite, or has exploded; training cannot go on from here."""


@dataclass(frozen=True)
class Losses:
    """Scalars of one minibatch; `total` is what is minimised, the others are what it is made of, and how.

    Attributes:
        total: policy + value_coefficient * value - entropy_coefficient * entropy.
        policy: the clipped surrogate, negated.
        value: mean squared error of the values against the returns.
        entropy: mean entropy of the policy in nats.
        kl: estimated divergence of the policy from the one that acted (mean of ratio - 1 - log ratio).
        clip_fraction: share of steps at which the ratio left the clip range.
    """

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor
    clip_fraction: Tensor


@dataclass(frozen=True, kw_only=True)
class UpdateStatistics:
    """Means over an update's minibatches, for the learning curve; what only PPO has is 0 for others."""

    policy_loss: float
    value_loss: float = 0.0
    entropy: float
    kl: float = 0.0
    clip_fraction: float = 0.0
    grad_norm: float
    """Norm of the gradient before clipping."""
    explained_variance: float = 0.0
    """Share of the returns' variance that the values explained before the update."""


def generalised_advantages(rollout: Rollout, discount: float, gae_lambda: float) -> Tensor:
    """Return the advantages [b t], zero on padding. Truncated episodes bootstrap, terminated ones do not."""
    mask = rollout.mask
    last = mask.sum(1, keepdim=True) - 1
    next_values = torch.cat([rollout.values[:, 1:], rollout.values[:, :1]], dim=1)
    next_values = next_values.scatter(1, last, rollout.bootstrap.unsqueeze(1))
    deltas = (rollout.rewards + discount * next_values - rollout.values) * mask
    advantages, running = torch.empty_like(deltas), torch.zeros_like(rollout.bootstrap)
    for step in reversed(range(deltas.shape[1])):
        running = deltas[:, step] + discount * gae_lambda * running
        advantages[:, step] = running
    return advantages


def normalised(advantages: Tensor, mask: Tensor) -> Tensor:
    """Return advantages [b t] shifted and scaled to mean 0 and standard deviation 1 over real steps."""
    padding, num_steps = ~mask, mask.sum()
    mean = advantages.masked_fill(padding, 0).sum() / num_steps
    centred = (advantages - mean).masked_fill(padding, 0)
    return centred / ((centred.square().sum() / num_steps).sqrt() + 1e-8)


def losses(
    agent: Agent,
    rollout: Rollout,
    advantages: Tensor,
    returns: Tensor,
    config: PPOConfig,
    entropy_coefficient: float,
    num_steps: Tensor | None = None,
) -> Losses:
    """Return the PPO losses of the agent as it is now on whole episodes, with normalised advantages [b t].

    They are means over the episodes' real steps; over `num_steps` of them where these episodes are only a
    part, so that the losses of all parts add up.
    """
    padding = ~rollout.mask
    outputs, values = agent.evaluate(rollout.observations)
    log_ratio = (agent.head.log_prob(outputs, rollout.actions) - rollout.log_probs).masked_fill(padding, 0)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
    with torch.no_grad():
        divergence, was_clipped = ratio - 1 - log_ratio, (ratio != clipped).to(ratio.dtype)
    of_steps = (
        -torch.minimum(ratio * advantages, clipped * advantages),
        (returns - values).square(),
        agent.head.entropy(outputs),
        divergence,
        was_clipped,
    )
    # One mean for all, as small operations are what a small update spends much of its time on.
    means = torch.stack(of_steps).masked_fill(padding, 0).sum((1, 2))
    means = means / (rollout.mask.sum() if num_steps is None else num_steps)
    policy, value, entropy = means[:3].unbind()
    total = policy + config.value_coefficient * value - entropy_coefficient * entropy
    return Losses(total, policy, value, entropy, *means[3:].detach())


def minibatches(rollout: Rollout, config: PPOConfig, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the rows of every minibatch of whole episodes, epoch after epoch, each in an order of its own."""
    for _ in range(config.num_epochs):
        order = torch.randperm(len(rollout.mask), generator=generator).to(rollout.mask.device)
        yield from order.tensor_split(config.num_minibatches)


def split_for_backward(rows: Tensor, rollout: Rollout, config: PPOConfig) -> tuple[Tensor, ...]:
    """Return the rows of a minibatch in parts that go backwards one by one; see `steps_per_backward`."""
    return rows.split(max(1, config.steps_per_backward // rollout.mask.shape[1]))


def update(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: PPOConfig,
    *,
    entropy_coefficient: float,
    generator: torch.Generator,
) -> UpdateStatistics:
    """Improve the agent on one rollout: several epochs of minibatches of whole episodes.

    Raises:
        DivergenceError: before a loss or gradient that is not finite or has exploded would reach the weights.
    """
    advantages = generalised_advantages(rollout, config.discount, config.gae_lambda)
    returns = advantages + rollout.values
    measured = []
    for rows in minibatches(rollout, config, generator):
        agent.zero_grad()
        scalars = backward(agent, rollout, rows, advantages, returns, config, entropy_coefficient)
        measured.append(descend(agent, optimizer, scalars, config.max_grad_norm))
    _, policy, value, entropy, kl, clip_fraction, grad_norm = torch.stack(measured).mean(0).tolist()
    return UpdateStatistics(
        policy_loss=policy,
        value_loss=value,
        entropy=entropy,
        kl=kl,
        clip_fraction=clip_fraction,
        grad_norm=grad_norm,
        explained_variance=explained_variance(rollout, returns),
    )


def backward(
    agent: Agent,
    rollout: Rollout,
    rows: Tensor,
    advantages: Tensor,
    returns: Tensor,
    config: PPOConfig,
    entropy_coefficient: float,
) -> Tensor:
    """Add the gradient of the loss on the episodes `rows` of a rollout to the agent's.

    Long episodes go through the memory a few at a time; every loss is a mean over all steps, so the parts
    add up to the whole.

    Returns:
        The loss and its parts, in the order of `Losses`.
    """
    mask = rollout.mask[rows]
    advantages, num_steps = normalised(advantages[rows], mask), mask.sum()
    measured = torch.zeros(len(fields(Losses)), device=advantages.device)
    parts = split_for_backward(rows, rollout, config)
    sizes = [len(part_rows) for part_rows in parts]
    for part_rows, part_advantages in zip(parts, advantages.split(sizes), strict=True):
        part = rollout.rows(part_rows)
        length = part.mask.shape[1]
        loss = losses(
            agent,
            part,
            part_advantages[:, :length],
            returns[part_rows, :length],
            config,
            entropy_coefficient,
            num_steps,
        )
        loss.total.backward()
        measured += torch.stack([getattr(loss, field.name) for field in fields(Losses)]).detach()
    return measured


def descend(agent: Agent, optimizer: torch.optim.Optimizer, scalars: Tensor, max_grad_norm: float) -> Tensor:
    """Clip the agent's gradient and take a step; `scalars` are the loss and what else was measured.

    A `max_grad_norm` of 0 clips nothing.

    Returns:
        The scalars, with the gradient's norm before clipping behind them.

    Raises:
        DivergenceError: instead of the step, if one of them is not finite or has exploded.
    """
    parameters = list(agent.parameters())
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    grad_norm = nn.utils.get_total_norm(gradients)
    measured = torch.cat([scalars, grad_norm.unsqueeze(0)])
    found = measured.tolist()
    if not all(abs(scalar) < EXPLODED for scalar in found):
        raise DivergenceError(f"loss {found[0]:.3g}, gradient norm {found[-1]:.3g}")
    if found[-1] > max_grad_norm > 0:
        nn.utils.clip_grads_with_norm_(parameters, max_grad_norm, grad_norm)
    optimizer.step()
    return measured


def explained_variance(rollout: Rollout, returns: Tensor) -> float:
    """Return 1 - Var(returns - values) / Var(returns) over real steps; 0 if the returns do not vary."""
    returns, values = returns[rollout.mask], rollout.values[rollout.mask]
    variance = returns.var(correction=0)
    return float(1 - (returns - values).var(correction=0) / variance) if variance > 0 else 0.0
