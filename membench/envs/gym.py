"""Tasks as Gymnasium environments: one episode at a time, or many side by side."""

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from membench.envs.task import Task
from membench.errors import InputError


def observation_space(task: Task) -> spaces.Box:
    """Return the space of one observation."""
    low, high = (-np.inf, np.inf) if task.config.observation_noise else (0.0, 1.0)
    return spaces.Box(low, high, (task.observation_size,), np.float32)


def action_space(task: Task, discrete: bool) -> spaces.Space:
    """Return the space of one action: its number, or one real number per action, the largest of which counts.

    The numbers are unbounded: bounds would turn two large ones into a tie.
    """
    if discrete:
        return spaces.Discrete(task.num_actions)
    return spaces.Box(-np.inf, np.inf, (task.num_actions,), np.float32)


class TaskVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, Any, np.ndarray]):
    """Many episodes of a task side by side, stepped together.

    `infos["correct"]` and `infos["target"]`, the right answer, [env] hold for the environments that
    `infos["_correct"]` marks: those whose step asked a question, whenever its reward comes. In the mode
    `SAME_STEP` a finished environment shows the next episode's first observation and `infos["final_obs"]`
    holds the last of the old one. In the mode `DISABLED` it waits for `reset`.

    Args:
        task: what the episodes are of.
        num_envs: episodes side by side.
        discrete: take actions as integers, not as real numbers whose argmax acts.
        autoreset_mode: `SAME_STEP` or `DISABLED`.
    """

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
        self._has_begun = False

    @abstractmethod
    def begin(self, mask: np.ndarray) -> None:
        """Begin new episodes in the environments that `mask` [env] marks."""

    @abstractmethod
    def observe(self) -> np.ndarray:
        """Return the present observations [env feature] float32."""

    @abstractmethod
    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Carry out integer actions [env]: rewards, terminated and truncated [env], and infos."""

    def seed(self, seed: int | None) -> None:
        """Begin the stream of random numbers anew, unless `seed` is None."""
        super().reset(seed=seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes, in all environments or in those that `options["reset_mask"]` [env] marks."""
        self.seed(seed)
        mask = (options or {}).get("reset_mask")
        if mask is None:
            mask, self._has_begun = np.ones(self.num_envs, dtype=np.bool_), True
        elif not self._has_begun:
            raise gymnasium.error.ResetNeeded("call reset without a mask first")
        self.begin(mask)
        return self.observe(), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act on the observations shown last and show the next ones."""
        if not self._has_begun:
            raise gymnasium.error.ResetNeeded("call reset before step")
        chosen = np.asarray(actions) if self.discrete else np.asarray(actions).argmax(-1)
        rewards, terminated, truncated, infos = self.advance(chosen)
        observations, finished = self.observe(), terminated | truncated
        if finished.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos["final_obs"], infos["_final_obs"] = observations, finished
            self.begin(finished)
            observations = self.observe()
        return observations, rewards, terminated, truncated, infos


class TaskEnv(gymnasium.Env[np.ndarray, Any]):
    """One episode of a task at a time.

    `info` of a step that asked a question holds `correct`, whenever its reward comes.

    Args:
        task: what the episodes are of.
        discrete: take actions as integers, not as real numbers whose argmax acts.
    """

    def __init__(self, task: Task, *, discrete: bool = False):
        self.metadata = {"render_modes": []}
        self.task = task
        self._envs = task.vector_env(1, discrete=discrete, autoreset_mode=AutoresetMode.DISABLED)
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space
        self._is_under_way = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode and show its first observation."""
        super().reset(seed=seed)
        self._envs.np_random = self.np_random
        observations, infos = self._envs.reset()
        self._is_under_way = True
        return observations[0], infos

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act on the observation shown last and show the next one."""
        if not self._is_under_way:
            raise gymnasium.error.ResetNeeded("call reset before step: no episode is under way")
        observations, rewards, terminated, truncated, infos = self._envs.step(np.asarray(action)[None])
        self._is_under_way = not (terminated[0] or truncated[0])
        info = {"correct": bool(infos["correct"][0])} if infos["_correct"][0] else {}
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info
