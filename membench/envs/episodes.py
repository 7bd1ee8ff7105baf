"""The engine under the tasks in which observations never depend on actions: episodes drawn in batches.

An episode shows something, lets a delay pass, asks, and may go on until the last reward has come. Axes: b
episode, t step, i observation feature. As observations never depend on actions, a whole batch of episodes can
be drawn before anybody acts ("open loop").
"""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from gymnasium.vector import AutoresetMode

from membench.config import TaskConfig
from membench.envs.open_loop import OpenLoopVectorEnv
from membench.envs.task import NO_QUESTION, Task
from membench.errors import InputError


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


class OpenLoopTask(Task):
    """A task whose observations do not depend on actions: see, wait, answer.

    Args:
        config: what to build the task from.
        num_shown: steps before the delay.
        num_questions: questions per episode.
        num_features: features per observation, the query flag left out.
        recall_gap: see `Task`.
        has_query_flag: whether the task cannot do without; it cannot either where there are several
            questions, or where they come at a time that varies.

    The actions are the answers: in an observation, as many features are they; a query flag comes after them,
    if there is one. The questions come in successive steps after the delay.

    Raises:
        InputError: for a configuration that contradicts itself.
    """

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
        self.has_query_flag = (
            has_query_flag or config.query_flag or num_questions > 1 or config.min_horizon is not None
        )
        self.delay_steps = slice(num_shown, num_shown + config.horizon)
        self.query_steps = slice(self.delay_steps.stop, self.delay_steps.stop + num_questions)
        super().__init__(
            config,
            observation_size=num_features + self.has_query_flag,
            num_actions=config.num_cues,
            num_questions=num_questions,
            max_episode_steps=self.query_steps.stop + config.reward_delay,
            recall_gap=recall_gap,
        )

    def vector_env(
        self,
        num_envs: int,
        *,
        discrete: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> OpenLoopVectorEnv:
        """Return environments that can draw whole episodes, too."""
        return OpenLoopVectorEnv(self, num_envs, discrete=discrete, autoreset_mode=autoreset_mode)

    @property
    def shortest_delay(self) -> int:
        """Steps of the delay, the fewest where they vary."""
        return self.config.horizon if self.config.min_horizon is None else self.config.min_horizon

    def last_told_step(self, query: int) -> int:
        """Return the last step that may have to be seen to know the first answer, asked for at `query`."""
        return min(self.delay_steps.start - 1, query)

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

    def rewards(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the rewards [b t] float32 of whole episodes: each `reward_delay` steps after its answer."""
        earned = self.score(answers, targets)
        return np.pad(earned, ((0, 0), (self.config.reward_delay, 0)))[:, : earned.shape[1]]


def as_open_loop(task: Task, purpose: str) -> OpenLoopTask:
    """Return `task`.

    Raises:
        InputError: naming the purpose, if what the task shows depends on actions.
    """
    if not isinstance(task, OpenLoopTask):
        raise InputError(
            f"task.name {task.name!r}: what it shows depends on actions (legal for {purpose}: tasks in "
            "which it does not, like 'CueMemory-v0')"
        )
    return task


def draw_places(random: np.random.Generator, num_places: int, num_steps: np.ndarray) -> np.ndarray:
    """Draw distinct steps [b place] in order, uniformly among the first `num_steps` [b] of each episode."""
    steps = np.arange(num_steps.max(initial=0))
    order = random.random((len(num_steps), len(steps)))
    order[steps >= num_steps[:, None]] = np.inf
    return np.sort(np.argsort(order, axis=1)[:, :num_places], axis=1)
