"""Supervised recall: the answers are told, and only holding them is left to learn.

Privileged: no task tells an agent this. It sets a memory that cannot hold apart from a harness that cannot
teach it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from membench.agent import Agent
from membench.config import PPOConfig
from membench.ppo import UpdateStatistics, descend, minibatches, split_for_backward
from membench.rollout import Rollout


def update(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: PPOConfig,
    *,
    generator: torch.Generator,
) -> UpdateStatistics:
    """Improve the agent on one rollout by cross-entropy at the questions, in as many updates as PPO would.

    Returns:
        The cross-entropy as `policy_loss`; what only PPO has is 0.

    Raises:
        DivergenceError: before a loss or gradient that is not finite or has exploded would reach the weights.
    """
    measured = []
    for rows in minibatches(rollout, config, generator):
        agent.zero_grad()
        scalars = backward(agent, rollout, rows, config)
        measured.append(descend(agent, optimizer, scalars, config.max_grad_norm))
    loss, entropy, grad_norm = torch.stack(measured).mean(0).tolist()
    return UpdateStatistics(policy_loss=loss, entropy=entropy, grad_norm=grad_norm)


def backward(agent: Agent, rollout: Rollout, rows: Tensor, config: PPOConfig) -> Tensor:
    """Add the gradient of the cross-entropy of the episodes `rows` to the agent's, a few episodes at a time.

    Returns:
        The cross-entropy, mean over questions, and the policy's entropy, mean over steps.
    """
    num_questions, num_steps = rollout.asked[rows].sum(), rollout.mask[rows].sum()
    measured = torch.zeros(2, device=rollout.mask.device)
    for part in split_for_backward(rows, rollout, config):
        asked, mask = rollout.asked[part], rollout.mask[part]
        outputs, _ = agent.evaluate(rollout.observations[part])
        told = F.cross_entropy(outputs[asked], rollout.targets[part][asked], reduction="sum") / num_questions
        told.backward()
        entropy = agent.head.entropy(outputs)[mask].sum() / num_steps
        measured += torch.stack([told, entropy]).detach()
    return measured
