"""Active T-maze: go back to see the cue, walk to the junction, and choose the arm that the cue named.

Source: the active T-maze of Ni et al. 2023, arXiv 2307.03864, section 3.2, after the T-maze of Bakker 2001.
A corridor has cells 0 ... horizon + 1, the last of which is the junction. A sign in cell 0 names one of
`num_cues` arms; it is seen in that cell only, and the agent begins in cell 1. So what is seen depends on what
is done, and the reward comes long after the step back that earns it. An observation is the sign, one-hot in
cell 0 and zeros elsewhere, and a last feature that flags the junction.

Action k < num_cues goes forward: at the junction, into arm k, which is the answer and ends the episode; the
last action goes back. Against a wall, nothing moves. The shortest way to a right answer takes horizon + 3
steps; after twice as many the episode ends, and counts as a wrong answer to which no reward is paid. That is
an end and no truncation: what lay behind would be valued there, and never to answer would cost nothing.

Deviations: num_cues arms, where two make the letter T; any action but back walks along the corridor, where
theirs has arms' actions stand still and fines every step behind the shortest way: what is hard here is to
seek the cue and to remember it, not to walk.
"""

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from membench.config import TaskConfig
from membench.envs.gym import TaskVectorEnv
from membench.envs.task import NO_QUESTION, Task


class ActiveTMaze(Task):
    """Step back to the sign, walk `horizon` cells and one more, and choose one of `num_cues` arms."""

    name = "ActiveTMaze-v0"

    def __init__(self, config: TaskConfig):
        super().__init__(
            config,
            observation_size=config.num_cues + 1,
            num_actions=config.num_cues + 1,
            num_questions=1,
            max_episode_steps=2 * (config.horizon + 3),
            recall_gap=config.horizon + 1,
        )
        self.junction = config.horizon + 1
        self.back = config.num_cues
        self.refuse(
            num_items=1,
            min_horizon=None,
            query_flag=False,
            observation_noise=0.0,
            distractors=0.0,
            reward_delay=0,
        )

    def vector_env(
        self,
        num_envs: int,
        *,
        discrete: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> "ActiveTMazeVectorEnv":
        """Return mazes side by side."""
        return ActiveTMazeVectorEnv(self, num_envs, discrete=discrete, autoreset_mode=autoreset_mode)


class ActiveTMazeVectorEnv(TaskVectorEnv):
    """Many mazes side by side; the arguments are those of `TaskVectorEnv`."""

    task: ActiveTMaze

    def __init__(
        self,
        task: ActiveTMaze,
        num_envs: int = 1,
        *,
        discrete: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ):
        super().__init__(task, num_envs, discrete=discrete, autoreset_mode=autoreset_mode)
        self._cell, self._arm, self._time = (np.zeros(num_envs, dtype=np.int64) for _ in range(3))
        self._under_way = np.zeros(num_envs, dtype=np.bool_)

    def begin(self, mask: np.ndarray) -> None:
        """Put the agent in cell 1 and draw the arm that the sign names, in the marked environments [env]."""
        self._cell[mask], self._time[mask], self._under_way[mask] = 1, 0, True
        self._arm[mask] = self.np_random.integers(self.task.config.num_cues, size=int(mask.sum()))

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Walk, or choose an arm at the junction."""
        goes_back = actions == self.task.back
        chooses = self._under_way & (self._cell == self.task.junction) & ~goes_back
        self._cell += np.where(goes_back, -1, 1) * self._under_way
        self._cell[self._cell < 0] = 0
        self._time += self._under_way
        ends = chooses | (self._under_way & (self._time == self.task.max_episode_steps))
        rewards = self.task.score(actions, np.where(chooses, self._arm, NO_QUESTION))
        self._under_way &= ~ends
        targets = np.where(ends, self._arm, NO_QUESTION)
        infos = {
            "correct": chooses & (actions == self._arm),
            "_correct": ends,
            "target": targets,
            "_target": ends,
        }
        return rewards, ends, np.zeros_like(ends), infos

    def observe(self) -> np.ndarray:
        """Return what is seen in each cell; behind the junction, in an arm, nothing."""
        observations = np.zeros((self.num_envs, self.task.observation_size), dtype=np.float32)
        at_junction = self._cell == self.task.junction
        observations[at_junction, -1] = 1.0
        shows_cue = (self._cell == 0) | (at_junction & self.task.config.reveal_cue)
        observations[shows_cue, self._arm[shows_cue]] = 1.0
        return observations
