"""Model-agnostic meta-learning: weights that a few gradient steps adapt to answers with new names.

Source: Finn et al. 2017, arXiv 1703.03400, algorithm 2, for the deep dive's section "Meta-Learning". The
distribution is one over mappings: each draws a permutation that says how a task's answers are called. An
agent adapts its weights on support episodes of a mapping, by plain gradient descent,

    theta'_k = theta'_{k-1} - inner_learning_rate * gradient of L_support(theta'_{k-1}),    theta'_0 = theta,

and is judged on query episodes of the same mapping; the outer update lowers the mean of L_query(theta'_K)
over mappings, gradients running through the inner steps (second order). L is the cross-entropy at the
questions: as in `membench.supervised`, the answers are told. Deviation: the outer optimiser is that of every
other run, and its gradient is clipped as everywhere.

A memory must be differentiable twice: those with a `fused` option are so without it, and attention is
computed by PyTorch's plain kernel here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from membench.agent import Agent
from membench.config import MAMLConfig, RunConfig
from membench.envs import OpenLoopTask
from membench.envs.episodes import as_open_loop
from membench.errors import InputError
from membench.ppo import UpdateStatistics, descend
from membench.training import Training

TWICE_DIFFERENTIABLE = SDPBackend.MATH
"""The only kernel of attention whose gradient has a gradient on a CPU."""

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Lesson:
    """Episodes of one mapping, with the answers told.

    Attributes:
        observations: [b t i].
        asked: [b t] True where a step asks.
        answers: [question] in the order of `asked`'s true entries.
        num_steps: environment steps, padding not counted.
    """

    observations: Tensor
    asked: Tensor
    answers: Tensor
    num_steps: int


class MetaTask(NamedTuple):
    """What to adapt on, and what to be judged by."""

    support: Lesson
    query: Lesson


class EpisodeOutputs(nn.Module):
    """An agent as a function of whole episodes: observations [b t i] to the policy head's outputs [b t a]."""

    def __init__(self, agent: Agent):
        super().__init__()
        self.agent = agent

    def forward(self, observations: Tensor) -> Tensor:
        """Return the outputs at every step."""
        return self.agent.evaluate(observations)[0]


def draw_meta_task(
    task: OpenLoopTask, config: MAMLConfig, random: np.random.Generator, device: torch.device
) -> MetaTask:
    """Draw a mapping of answers to names, and episodes under it, for weights on `device`."""
    names = random.permutation(task.num_actions)

    def draw(num_episodes: int) -> Lesson:
        episodes = task.draw(random, num_episodes)
        answers = names[episodes.targets[episodes.is_question]]
        return Lesson(
            torch.from_numpy(episodes.observations).to(device),
            torch.from_numpy(episodes.is_question).to(device),
            torch.from_numpy(answers).to(device),
            int(episodes.lengths.sum()),
        )

    return MetaTask(draw(config.num_support_episodes), draw(config.num_query_episodes))


def lesson_loss(parameters: Parameters, network: EpisodeOutputs, lesson: Lesson) -> Tensor:
    """Return the cross-entropy of `lesson` under `parameters`."""
    return F.cross_entropy(asked_outputs(parameters, network, lesson), lesson.answers)


def asked_outputs(parameters: Parameters, network: EpisodeOutputs, lesson: Lesson) -> Tensor:
    """Return the outputs at the questions, [question a]."""
    return functional_call(network, parameters, (lesson.observations,))[lesson.asked]


def adapt(network: EpisodeOutputs, support: Lesson, config: MAMLConfig) -> Parameters:
    """Return the weights after the inner steps; the network keeps its own, and gradients reach them."""
    parameters: Parameters = dict(network.named_parameters())
    for _ in range(config.num_inner_steps):
        gradients = grad(lesson_loss)(parameters, network, support)
        parameters = {
            name: parameter - config.inner_learning_rate * gradients[name]
            for name, parameter in parameters.items()
        }
    return parameters


def check_twice_differentiable(agent: Agent, task: OpenLoopTask) -> None:
    """See that gradients run through an inner step.

    Raises:
        InputError: if they do not.
    """
    smallest = MAMLConfig(num_support_episodes=1, num_query_episodes=1, num_inner_steps=1)
    drawn = draw_meta_task(task, smallest, np.random.default_rng(0), agent.device)
    network = EpisodeOutputs(agent)
    try:
        with sdpa_kernel(TWICE_DIFFERENTIABLE):
            lesson_loss(adapt(network, drawn.support, smallest), network, drawn.query).backward()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InputError(
            f"objective 'maml': {type(agent.memory).__name__} cannot be differentiated twice as it is "
            f"({str(error).splitlines()[0]}); set memory.fused=false if it has that option, or device=cpu"
        ) from error
    agent.zero_grad(set_to_none=True)


class MetaTraining(Training):
    """A run that learns to adapt: every update is an outer one, and success is that of adapted weights."""

    def __init__(self, config: RunConfig, started: float):
        super().__init__(config, started)
        self.open_loop_task = as_open_loop(self.task, "objective 'maml'")
        self.network = EpisodeOutputs(self.agent)
        check_twice_differentiable(self.agent, self.open_loop_task)

    def _practise(self, progress: float) -> UpdateStatistics:
        """Adapt to some mappings and improve the weights that adapting begins with."""
        config, random = self.config.maml, np.random.default_rng(next(self.random.rollouts))
        measured = torch.zeros(2, device=self.agent.device)
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(config.num_tasks):
            support, query = draw_meta_task(self.open_loop_task, config, random, self.agent.device)
            with sdpa_kernel(TWICE_DIFFERENTIABLE):
                outputs = asked_outputs(adapt(self.network, support, config), self.network, query)
                loss = F.cross_entropy(outputs, query.answers)
                (loss / config.num_tasks).backward()
            outputs = outputs.detach()
            measured += torch.stack([loss.detach(), self.agent.head.entropy(outputs).mean()])
            correct = self._is_right(outputs, query, self.random.actions)
            self._note(correct, query.asked, support.num_steps + query.num_steps)
        scalars = measured / config.num_tasks
        loss, entropy, grad_norm = descend(
            self.agent, self.optimizer, scalars, self.config.ppo.max_grad_norm
        ).tolist()
        return UpdateStatistics(policy_loss=loss, entropy=entropy, grad_norm=grad_norm)

    def examine(
        self, num_episodes: int, seeds: Iterator[int], generator: torch.Generator | None = None
    ) -> float:
        """Return success on query episodes after adapting to each of so many fresh mappings as they need."""
        config, random = self.config.maml, np.random.default_rng(next(seeds))
        correct = asked = 0
        for _ in range(math.ceil(num_episodes / config.num_query_episodes)):
            support, query = draw_meta_task(self.open_loop_task, config, random, self.agent.device)
            with torch.no_grad(), sdpa_kernel(TWICE_DIFFERENTIABLE):
                outputs = asked_outputs(adapt(self.network, support, config), self.network, query)
            correct += int(self._is_right(outputs, query, generator).sum())
            asked += int(query.asked.sum())
            self.evaluation_steps += support.num_steps + query.num_steps
        return correct / asked

    def _is_right(self, outputs: Tensor, lesson: Lesson, generator: torch.Generator | None) -> Tensor:
        """Return [b t] where actions sampled from outputs [question a], or greedy ones, are right."""
        head, shape = self.agent.head, tuple(outputs.shape)
        noise = torch.zeros(shape) if generator is None else head.draw_noise(shape, generator)
        actions = head.sample(outputs, noise.to(outputs.device))
        right = lesson.asked.clone()
        right[lesson.asked] = (actions if head.discrete else actions.argmax(-1)) == lesson.answers
        return right
