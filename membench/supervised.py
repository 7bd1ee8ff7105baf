"""Supervised recall: the answers are told, and only holding them is left to learn.

Privileged: no task tells an agent this. It sets a memory that cannot hold apart from a harness that cannot
teach it.
"""

import torch
from torch.nn import functional as F

from membench.agent import Agent
from membench.config import PPOConfig
from membench.ppo import UpdateStatistics, descend, masked_mean, minibatches
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
        asked = rollout.asked[rows]
        outputs, _ = agent.evaluate(rollout.observations[rows])
        loss = F.cross_entropy(outputs[asked], rollout.targets[rows][asked])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        entropy = masked_mean(agent.head.entropy(outputs), rollout.mask[rows])
        scalars = torch.stack([loss, entropy]).detach()
        measured.append(descend(agent, optimizer, scalars, config.max_grad_norm))
    loss, entropy, grad_norm = torch.stack(measured).mean(0).tolist()
    return UpdateStatistics(policy_loss=loss, entropy=entropy, grad_norm=grad_norm)
