"""Gradient reach: how much the output at the query depends on the input of every step before it."""

import torch
from torch import Tensor

from membench.agent import Agent

NUM_EPISODES = 16
NUM_DIRECTIONS = 8
"""Random directions of the latent; with signs s, the mean of |s^T J|^2 is the squared Frobenius norm of J
(Hutchinson 1989)."""


def gradient_reach(agent: Agent, observations: Tensor) -> Tensor:
    """Return the norm [t] of the Jacobian of the latent at the last step in the observation of every step.

    An estimate of its Frobenius norm, root mean square over some of the episodes [b t i]; exactly zero where
    nothing reaches.
    """
    observations = observations[:NUM_EPISODES].detach().clone().requires_grad_()
    latents, _ = agent.memory(observations * agent.observation_scale, agent.initial_state(len(observations)))
    last, squares = latents[:, -1], torch.zeros(observations.shape[1])
    generator = torch.Generator().manual_seed(0)
    for direction in range(NUM_DIRECTIONS):
        signs = torch.randint(0, 2, last.shape, generator=generator).to(last.dtype) * 2 - 1
        (gradient,) = torch.autograd.grad(
            (last * signs).sum(),
            observations,
            retain_graph=direction < NUM_DIRECTIONS - 1,
            materialize_grads=True,
            allow_unused=True,
        )
        squares += gradient.square().sum(-1).mean(0) / NUM_DIRECTIONS
    return squares.sqrt()
