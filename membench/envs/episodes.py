"""The engine under every task: episodes drawn in batches, and their scoring.

Axes: b episode, t step, i observation feature. Observations never depend on actions here, so a whole batch
of episodes can be drawn before anybody acts ("open loop").
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from membench.config import TaskConfig

NO_QUESTION = -1


@dataclass(frozen=True)
class Episodes:
    """A batch of episodes, right-padded with zeros and `NO_QUESTION`.

    Attributes:
        observations: [b t i] float32.
        targets: [b t] the right answer where a step is a question, else `NO_QUESTION`.
        lengths: [b] steps per episode.
    """

    observations: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray

    @property
    def is_question(self) -> np.ndarray:
        """[b t] True where a step asks for an answer."""
        return self.targets != NO_QUESTION


class Task(ABC):
    """A distribution over episodes with a right answer at some steps.

    Attributes:
        config: what the task was built from.
        observation_size: features per observation.
        num_actions: possible answers.
        num_questions: questions per episode, its last steps.
        max_episode_steps: the longest episode's length.
        recall_gap: steps between seeing a cue and having to answer it, the longest where it varies.
    """

    name: ClassVar[str]
    observation_size: int
    num_actions: int
    num_questions: int
    max_episode_steps: int
    recall_gap: int

    def __init__(self, config: TaskConfig):
        self.config = config

    @property
    def chance(self) -> float:
        """Expected success of an agent without a memory."""
        return 1 / self.num_actions

    @abstractmethod
    def draw(self, random: np.random.Generator, num_episodes: int) -> Episodes:
        """Draw episodes."""

    def silence(self, random: np.random.Generator, num_episodes: int) -> np.ndarray:
        """Return observations [b t i] float32 of nothing but the delay's noise, where there is any."""
        shape = (num_episodes, self.max_episode_steps, self.observation_size)
        observations = np.zeros(shape, dtype=np.float32)
        if self.config.observation_noise:
            delay = observations[:, self.config.num_items : -self.num_questions]
            delay += self.config.observation_noise * random.standard_normal(delay.shape, dtype=np.float32)
        return observations

    def episodes(self, observations: np.ndarray, answers: np.ndarray) -> Episodes:
        """Return full-length episodes [b t i] whose last steps ask for `answers` [b question]."""
        num_episodes, length, _ = observations.shape
        targets = np.full((num_episodes, length), NO_QUESTION)
        targets[:, -self.num_questions :] = answers
        return Episodes(observations, targets, np.full(num_episodes, length))

    def reward(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the float32 reward of integer `answers` to `targets` of the same shape."""
        scored = np.where(answers == targets, self.config.reward_correct, self.config.reward_wrong)
        return np.where(targets == NO_QUESTION, 0.0, scored).astype(np.float32)
