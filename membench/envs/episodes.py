"""The engine under every task: episodes drawn in batches, and their scoring.

An episode shows something, lets a delay pass, asks, and may go on until the last reward has come. Axes: b
episode, t step, i observation feature. Observations never depend on actions here, so a whole batch of
episodes can be drawn before anybody acts ("open loop").
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from membench.config import TaskConfig
from membench.errors import InputError

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

    Args:
        config: what to build the task from.
        num_shown: steps before the delay.
        num_questions: questions per episode.
        num_features: features per observation, the query flag left out.
        recall_gap: see below.
        has_query_flag: whether the task cannot do without; it cannot either where there are several
            questions, or where they come at a time that varies.

    Attributes:
        observation_size: features per observation; the last of them is the query flag, if there is one.
        num_actions: possible answers; in an observation, as many features before the query flag are they.
        num_questions: questions per episode, in successive steps after the delay.
        max_episode_steps: the longest episode's length.
        recall_gap: steps between seeing a cue and having to answer it, the longest where it varies.

    Raises:
        InputError: for a configuration that contradicts itself.
    """

    name: ClassVar[str]

    def __init__(
        self,
        config: TaskConfig,
        *,
        num_shown: int,
        num_questions: int,
        num_features: int,
        recall_gap: int,
        has_query_flag: bool = False,
    ):
        if config.min_horizon is not None and config.min_horizon > config.horizon:
            raise InputError(
                f"task.min_horizon {config.min_horizon}: must be at most task.horizon, {config.horizon}"
            )
        self.config, self.recall_gap = config, recall_gap
        self.has_query_flag = (
            has_query_flag or config.query_flag or num_questions > 1 or config.min_horizon is not None
        )
        self.observation_size = num_features + self.has_query_flag
        self.num_actions = config.num_cues
        self.num_questions = num_questions
        self.delay_steps = slice(num_shown, num_shown + config.horizon)
        self.query_steps = slice(self.delay_steps.stop, self.delay_steps.stop + num_questions)
        self.max_episode_steps = self.query_steps.stop + config.reward_delay

    @property
    def chance(self) -> float:
        """Expected success of an agent without a memory."""
        return 1 / self.num_actions

    @property
    def shortest_delay(self) -> int:
        """Steps of the delay, the fewest where they vary."""
        return self.config.horizon if self.config.min_horizon is None else self.config.min_horizon

    @abstractmethod
    def draw(self, random: np.random.Generator, num_episodes: int) -> Episodes:
        """Draw episodes."""

    def silence(self, random: np.random.Generator, num_episodes: int) -> np.ndarray:
        """Return observations [b t i] float32 of nothing but the delay's noise, where there is any."""
        shape = (num_episodes, self.max_episode_steps, self.observation_size)
        observations = np.zeros(shape, dtype=np.float32)
        if self.config.observation_noise:
            delay = observations[:, self.delay_steps]
            delay += self.config.observation_noise * random.standard_normal(delay.shape, dtype=np.float32)
        return observations

    def draw_delays(self, random: np.random.Generator, num_episodes: int) -> np.ndarray:
        """Draw each episode's steps of delay [b], from `min_horizon` to `horizon`; all `horizon` without."""
        if self.config.min_horizon is None:
            return np.full(num_episodes, self.config.horizon)
        return random.integers(self.config.min_horizon, self.config.horizon, size=num_episodes, endpoint=True)

    def distract(self, random: np.random.Generator, observations: np.ndarray, *sizes: int) -> None:
        """Show things that do not count at random steps of the delay of observations [b t i].

        Each is drawn uniformly and consists of a one-hot of each of `sizes`, side by side from the first
        feature on.
        """
        if self.config.distractors:
            delay = observations[:, self.delay_steps]
            episodes, steps = np.nonzero(random.random(delay.shape[:2]) < self.config.distractors)
            delay[episodes, steps] = 0.0
            for size, first in zip(sizes, np.cumsum([0, *sizes]), strict=False):
                delay[episodes, steps, first + random.integers(size, size=len(episodes))] = 1.0

    def ask(self, observations: np.ndarray, answers: np.ndarray, delays: np.ndarray) -> Episodes:
        """Return the episodes of observations [b t i] that ask for `answers` [b question].

        Every delay is cut to its episode's `delays` [b], and the questions follow at once.
        """
        queries = observations[:, self.query_steps]
        if self.has_query_flag:
            queries[..., -1] = 1.0
        if self.config.reveal_cue:
            first = self.observation_size - self.has_query_flag - self.num_actions
            np.put_along_axis(queries, first + answers[..., None], 1.0, axis=2)
        targets = np.full(observations.shape[:2], NO_QUESTION)
        targets[:, self.query_steps] = answers
        lengths = self.max_episode_steps - self.config.horizon + delays
        if self.config.min_horizon is not None:
            observations, targets = self._without_rest_of_delay(observations, targets, delays)
        return Episodes(observations, targets, lengths)

    def _without_rest_of_delay(
        self, observations: np.ndarray, targets: np.ndarray, delays: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return observations and targets with all after the first `delays` steps of the delay moved up."""
        steps = np.arange(self.max_episode_steps)
        cut = (self.config.horizon - delays)[:, None]
        source = steps + cut * (steps >= self.delay_steps.start + delays[:, None])
        outside = source >= self.max_episode_steps
        source[outside] = 0
        observations = np.take_along_axis(observations, source[..., None], axis=1)
        targets = np.take_along_axis(targets, source, axis=1)
        observations[outside], targets[outside] = 0.0, NO_QUESTION
        return observations, targets

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return what integer `answers` to `targets` of the same shape earn, float32, whenever it is paid."""
        scored = np.where(answers == targets, self.config.reward_correct, self.config.reward_wrong)
        return np.where(targets == NO_QUESTION, 0.0, scored).astype(np.float32)

    def rewards(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the rewards [b t] float32 of whole episodes: each `reward_delay` steps after its answer."""
        earned = self.score(answers, targets)
        return np.pad(earned, ((0, 0), (self.config.reward_delay, 0)))[:, : earned.shape[1]]

    def refuse(self, **legal: float) -> None:
        """Raise an `InputError` for an option that has another value than the only one that makes sense."""
        for option, value in legal.items():
            if (got := getattr(self.config, option)) != value:
                raise InputError(f"task.{option} {got}: {self.name} has no use for it (legal: {value})")


def draw_places(random: np.random.Generator, num_places: int, num_steps: np.ndarray) -> np.ndarray:
    """Draw distinct steps [b place] in order, uniformly among the first `num_steps` [b] of each episode."""
    steps = np.arange(num_steps.max(initial=0))
    order = random.random((len(num_steps), len(steps)))
    order[steps >= num_steps[:, None]] = np.inf
    return np.sort(np.argsort(order, axis=1)[:, :num_places], axis=1)
