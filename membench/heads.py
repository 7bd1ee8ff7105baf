"""Policy heads: two ways to read the policy head's outputs as a distribution over answers.

A head is a set of pure functions of the outputs [... a]. Randomness comes in as `noise`, drawn beforehand,
so that acting step by step and on whole episodes at once draw the same; zero noise is the greedy action.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Head(nn.Module, ABC):
    """Actions, log-probabilities and entropy for outputs [... a]."""

    discrete: ClassVar[bool]
    """Whether an action is an integer; otherwise it is a real number per answer."""

    @abstractmethod
    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        """Draw the noise [... a] that `sample` turns into actions, on the CPU."""

    @abstractmethod
    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return the actions that `outputs` and `noise` stand for."""

    @abstractmethod
    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-probability (density, for real numbers) of `actions` [...]."""

    @abstractmethod
    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the entropy of the action distribution in nats [...]."""


class CategoricalHead(Head):
    """Outputs are logits; the action is the answer."""

    discrete = True

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        """Draw Gumbel noise: the argmax of logits plus it is a sample of their softmax."""
        return -torch.empty(shape).exponential_(generator=generator).clamp_min_(1e-20).log_()

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return integers [...]."""
        return (outputs + noise).argmax(-1)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the logarithm of the softmax at the actions."""
        return F.log_softmax(outputs, dim=-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the softmax's entropy."""
        log_probs = F.log_softmax(outputs, dim=-1)
        return -(log_probs.exp() * log_probs).sum(-1)


class GaussianHead(Head):
    """Outputs are the mean of a Gaussian with a learned standard deviation; the argmax answers."""

    discrete = False

    def __init__(self, num_actions: int):
        super().__init__()
        self.log_std = nn.Parameter(torch.zeros(num_actions))

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        """Draw standard normal noise."""
        return torch.empty(shape).normal_(generator=generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return real numbers [... a]."""
        return outputs + self.log_std.exp() * noise

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-density, summed over the independent components."""
        standardised = (actions - outputs) / self.log_std.exp()
        return (-0.5 * standardised.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the differential entropy, which depends on the standard deviation only."""
        entropy = (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()
        return entropy.expand(outputs.shape[:-1])
