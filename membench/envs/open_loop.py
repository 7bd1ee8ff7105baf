"""Environments of tasks whose observations do not depend on actions: stepped, or drawn as a whole."""

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode

from membench.envs.gym import TaskVectorEnv
from membench.envs.task import NO_QUESTION

if TYPE_CHECKING:
    from membench.envs.episodes import Episodes, OpenLoopTask


class OpenLoopVectorEnv(TaskVectorEnv):
    """Many episodes side by side, stepped together or drawn as a whole.

    An episode terminates after its last step; from then on zeros are shown. The arguments are those of
    `TaskVectorEnv`.
    """

    task: "OpenLoopTask"

    def __init__(
        self,
        task: "OpenLoopTask",
        num_envs: int = 1,
        *,
        discrete: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ):
        super().__init__(task, num_envs, discrete=discrete, autoreset_mode=autoreset_mode)
        self._episodes: Episodes | None = None
        self._answers = np.zeros((num_envs, task.max_episode_steps), dtype=np.int64)
        self._time = np.zeros(num_envs, dtype=np.int64)

    def draw_episodes(self, seed: int | None = None) -> "Episodes":
        """Draw one whole episode per environment: those that `reset` with this seed would begin."""
        self.seed(seed)
        return self.task.draw(self.np_random, self.num_envs)

    def begin(self, mask: np.ndarray) -> None:
        """Draw new episodes for the environments that `mask` [env] marks."""
        drawn = self.task.draw(self.np_random, int(mask.sum()))
        if self._episodes is None:
            self._episodes = drawn
        else:
            for name in ("observations", "targets", "lengths"):
                getattr(self._episodes, name)[mask] = getattr(drawn, name)
        self._time[mask] = 0

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Score the answers to the observations shown last."""
        assert self._episodes is not None
        under_way = self._time < self._episodes.lengths
        self._answers[under_way, self._time[under_way]] = actions[under_way]
        targets = self._at(self._time, self._episodes.targets, NO_QUESTION)
        paid = self._time - self.task.config.reward_delay
        rewards = self.task.score(
            self._at(paid, self._answers, 0), self._at(paid, self._episodes.targets, NO_QUESTION)
        )
        asked = targets != NO_QUESTION
        infos = {"correct": actions == targets, "_correct": asked, "target": targets, "_target": asked}
        self._time += 1
        terminated = self._time == self._episodes.lengths
        return rewards, terminated, np.zeros(self.num_envs, dtype=np.bool_), infos

    def observe(self) -> np.ndarray:
        """Return what the episodes show now, zeros after their end."""
        assert self._episodes is not None
        return self._at(self._time, self._episodes.observations, 0.0)

    def _at(self, time: np.ndarray, values: np.ndarray, outside: float) -> np.ndarray:
        """Return each environment's entry of values [env t ...] at `time` [env], `outside` of its episode."""
        assert self._episodes is not None
        inside = (time >= 0) & (time < self._episodes.lengths)
        found = values[np.arange(self.num_envs), np.where(inside, time, 0)]
        found[~inside] = outside
        return found
