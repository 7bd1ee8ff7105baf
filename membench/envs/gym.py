"""Tasks as Gymnasium environments: one episode at a time, or many side by side."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from membench.envs.episodes import NO_QUESTION, Episodes, Task
from membench.errors import InputError


def observation_space(task: Task) -> spaces.Box:
    """Return the space of one observation."""
    low, high = (-np.inf, np.inf) if task.config.observation_noise else (0.0, 1.0)
    return spaces.Box(low, high, (task.observation_size,), np.float32)


def action_space(task: Task, discrete: bool) -> spaces.Space:
    """Return the space of one action: an answer, or one real number per answer, the largest of which counts.

    The numbers are unbounded: bounds would turn two large ones into a tie.
    """
    if discrete:
        return spaces.Discrete(task.num_actions)
    return spaces.Box(-np.inf, np.inf, (task.num_actions,), np.float32)


class TaskEnv(gymnasium.Env[np.ndarray, Any]):
    """One episode of a task at a time.

    `info` of a step that asked a question holds `correct`, whenever its reward comes. An episode terminates
    after its last step, with a zero observation.

    Args:
        task: what to draw episodes from.
        discrete: take answers as integers, not as real numbers whose argmax answers.
    """

    def __init__(self, task: Task, *, discrete: bool = False):
        self.metadata = {"render_modes": []}
        self.task, self.discrete = task, discrete
        self.observation_space = observation_space(task)
        self.action_space = action_space(task, discrete)
        self._episode: Episodes | None = None
        self._answers = np.zeros(task.max_episode_steps, dtype=np.int64)
        self._time = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw an episode and show its first observation."""
        super().reset(seed=seed)
        self._episode, self._time = self.task.draw(self.np_random, 1), 0
        return self._episode.observations[0, 0].copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Score the answer to the observation shown last and show the next one."""
        if self._episode is None or self._time >= self._episode.lengths[0]:
            raise gymnasium.error.ResetNeeded("call reset before step: no episode is under way")
        answer = int(action) if self.discrete else int(np.argmax(action))
        targets = self._episode.targets[0]
        self._answers[self._time] = answer
        paid = self._time - self.task.config.reward_delay
        reward = self.task.score(self._answers[paid], targets[paid]) if paid >= 0 else 0.0
        target = targets[self._time]
        info = {} if target == NO_QUESTION else {"correct": bool(answer == target)}
        self._time += 1
        terminated = self._time == self._episode.lengths[0]
        observation = np.zeros(self.task.observation_size, dtype=np.float32)
        if not terminated:
            observation[:] = self._episode.observations[0, self._time]
        return observation, float(reward), bool(terminated), False, info


class TaskVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, Any, np.ndarray]):
    """Many episodes of a task side by side, stepped together or drawn as a whole.

    `infos["correct"]` and `infos["target"]`, the right answer, [env] hold for the environments that
    `infos["_correct"]` marks: those whose step asked a question, whenever its reward comes. In the mode
    `SAME_STEP` a finished environment shows the next episode's first observation and `infos["final_obs"]`
    holds the last of the old one. In the mode `DISABLED` it shows zeros until `reset`.

    Args:
        task: what to draw episodes from.
        num_envs: episodes side by side.
        discrete: take answers as integers, not as real numbers whose argmax answers.
        autoreset_mode: `SAME_STEP` or `DISABLED`.

    Attributes:
        open_loop: observations do not depend on actions, so `draw_episodes` gives the same episodes as
            `reset` with the same seed and stepping.
    """

    open_loop: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        num_envs: int = 1,
        *,
        discrete: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ):
        if autoreset_mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
            raise InputError(f"autoreset_mode {autoreset_mode}: must be SAME_STEP or DISABLED")
        self.task, self.num_envs, self.discrete = task, num_envs, discrete
        self.autoreset_mode = autoreset_mode
        self.metadata = {"autoreset_mode": autoreset_mode, "render_modes": []}
        self.single_observation_space = observation_space(task)
        self.single_action_space = action_space(task, discrete)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._episodes: Episodes | None = None
        self._answers = np.zeros((num_envs, task.max_episode_steps), dtype=np.int64)
        self._time = np.zeros(num_envs, dtype=np.int64)

    def draw_episodes(self, seed: int | None = None) -> Episodes:
        """Draw one whole episode per environment: those that `reset` with this seed would begin."""
        super().reset(seed=seed)
        return self.task.draw(self.np_random, self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes, in all environments or in those that `options["reset_mask"]` [env] marks."""
        mask = (options or {}).get("reset_mask")
        if mask is None:
            self._episodes = self.draw_episodes(seed)
            self._time[:] = 0
        else:
            super().reset(seed=seed)
            self._replace(mask)
        return self._observe(), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Score the answers to the observations shown last and show the next ones."""
        if self._episodes is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        answers = np.asarray(actions) if self.discrete else np.asarray(actions).argmax(-1)
        under_way = self._time < self._episodes.lengths
        self._answers[under_way, self._time[under_way]] = answers[under_way]
        targets = self._at(self._time, self._episodes.targets, NO_QUESTION)
        paid = self._time - self.task.config.reward_delay
        rewards = self.task.score(
            self._at(paid, self._answers, 0), self._at(paid, self._episodes.targets, NO_QUESTION)
        )
        asked = targets != NO_QUESTION
        infos = {"correct": answers == targets, "_correct": asked, "target": targets, "_target": asked}
        self._time += 1
        terminated = self._time == self._episodes.lengths
        observations = self._observe()
        if terminated.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos["final_obs"], infos["_final_obs"] = observations, terminated.copy()
            self._replace(terminated)
            observations = self._observe()
        return observations, rewards, terminated, np.zeros(self.num_envs, dtype=np.bool_), infos

    def _observe(self) -> np.ndarray:
        assert self._episodes is not None
        return self._at(self._time, self._episodes.observations, 0.0)

    def _at(self, time: np.ndarray, values: np.ndarray, outside: float) -> np.ndarray:
        """Return each environment's entry of values [env t ...] at `time` [env], `outside` of its episode."""
        assert self._episodes is not None
        inside = (time >= 0) & (time < self._episodes.lengths)
        found = values[np.arange(self.num_envs), np.where(inside, time, 0)]
        found[~inside] = outside
        return found

    def _replace(self, mask: np.ndarray) -> None:
        """Begin new episodes in the environments that `mask` [env] marks."""
        if self._episodes is None:
            raise gymnasium.error.ResetNeeded("call reset without a mask first")
        old, new = self._episodes, self.task.draw(self.np_random, int(mask.sum()))
        old.observations[mask], old.targets[mask], old.lengths[mask] = (
            new.observations,
            new.targets,
            new.lengths,
        )
        self._time[mask] = 0
