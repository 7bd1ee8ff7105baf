"""The episodes that an agent is looked at in: of one task, aligned at their first question."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from membench.agent import Agent
from membench.envs import OpenLoopTask, Task
from membench.errors import InputError
from membench.rollout import collect, draw_noise

SEED = 2_000_003
"""Of the episodes; no run draws its own from it."""

MOST_OBSERVED_STEPS = 48
"""Steps of an episode that are looked at; of a longer one, so many are picked."""


@dataclass(frozen=True)
class Sample:
    """Episodes [b t ...] up to and with their first question, which comes at the same step in all of them.

    Attributes:
        observations: [b t i].
        answers: [b] the right answer to the first question.
        delay: the first step after what the answer follows from was shown; 0 if it never was.
        told: the last step that may have to be seen to know the answer: one of the delay, where cues that
            count are shown there, or the question, where it says which of several is asked for.
        query: the step of the first question, the last there is.
        num_questions: questions per episode.
        num_left_out: episodes that were drawn beside these, and were asked at another step or never.
        is_open_loop: whether observations are the same whatever the agent does.
    """

    observations: Tensor
    answers: Tensor
    delay: int
    told: int
    query: int
    num_questions: int
    num_left_out: int
    is_open_loop: bool

    def rows(self, number: int) -> "Sample":
        """Return the first so many episodes."""
        return replace(self, observations=self.observations[:number], answers=self.answers[:number])

    @property
    def observed_steps(self) -> list[int]:
        """The steps to look at: all, or those around what was shown and the question and some in between."""
        if self.query < MOST_OBSERVED_STEPS:
            return list(range(self.query + 1))
        shown = np.arange(min(self.delay + 2, MOST_OBSERVED_STEPS // 2))
        between = np.linspace(shown[-1], self.query - 1, MOST_OBSERVED_STEPS - len(shown)).round()
        return sorted({*shown.tolist(), *between.astype(int).tolist(), self.query})

    def spread_over_delay(self, number: int) -> list[int]:
        """Return so many steps or fewer, from the last that shows something to the last before the query."""
        first, last = max(min(self.delay, self.query) - 1, 0), max(self.query - 1, 0)
        return sorted({first + (last - first) * place // (number - 1) for place in range(number)})

    @property
    def middle_of_delay(self) -> int:
        """The step in the middle of `spread_over_delay`."""
        steps = self.spread_over_delay(3)
        return steps[len(steps) // 2]


def draw_sample(agent: Agent, task: Task, num_episodes: int) -> Sample:
    """Draw episodes as the greedy agent lives through them; those whose question comes at the usual step.

    Raises:
        InputError: if hardly any two episodes are asked at the same step, or all have the same right answer.
    """
    is_open_loop = isinstance(task, OpenLoopTask)
    envs = task.vector_env(num_episodes, discrete=agent.head.discrete, autoreset_mode=AutoresetMode.DISABLED)
    rollout = collect(agent, envs, seed=SEED, noise=draw_noise(agent, envs, None))
    first = rollout.asked.int().argmax(1)
    asked = rollout.asked.any(1)
    if not is_open_loop:  # the agent has to find the question, and has found none when it ran out of time
        asked &= rollout.mask.sum(1) < task.max_episode_steps
    if not asked.any():
        raise InputError(
            "the agent never comes to a question within the "
            f"{task.max_episode_steps} steps of an episode: there is nothing to look at"
        )
    query = int(first[asked].mode().values)
    chosen = asked & (first == query)
    if int(chosen.sum()) < num_episodes // 4:
        raise InputError(
            f"{int(chosen.sum())} of {num_episodes} episodes are asked at step {query}, and no more at any "
            "other: too few to compare"
        )
    observations = rollout.observations[chosen, : query + 1]
    answers = rollout.targets[chosen, query]
    if len(answers.unique()) < 2:
        raise InputError(
            f"the {len(answers)} of {num_episodes} episodes that are asked at step {query} have the same "
            "right answer: there is nothing to compare"
        )
    delay = _first_of_delay(task, observations, answers)
    return Sample(
        observations,
        answers,
        delay=delay,
        told=task.last_told_step(query) if isinstance(task, OpenLoopTask) else max(delay - 1, 0),
        query=query,
        num_questions=int(rollout.asked.sum(1).max()),
        num_left_out=num_episodes - len(answers),
        is_open_loop=is_open_loop,
    )


def _first_of_delay(task: Task, observations: Tensor, answers: Tensor) -> int:
    """Return the step after those that show what the answer is, by the task's own word or by what differs.

    What differs later may come of what the agent did, so that these are the first steps in a row; 0 if there
    are none.
    """
    if isinstance(task, OpenLoopTask):
        return min(task.delay_steps.start, observations.shape[1] - 1)
    means = torch.stack([observations[answers == answer].mean(0) for answer in answers.unique()])
    differs = (means.std(0, correction=0).amax(-1) > 0.1).tolist()
    if True not in differs:
        return 0
    first = differs.index(True)
    return differs.index(False, first) if False in differs[first:] else len(differs) - 1
