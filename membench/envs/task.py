"""What every task is: a right answer at some steps of an episode, and a world to act in."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from gymnasium.vector import AutoresetMode

from membench.config import TaskConfig
from membench.errors import InputError

if TYPE_CHECKING:
    from membench.envs.gym import TaskVectorEnv

NO_QUESTION = -1

LONGEST_EPISODE = 20_000
"""Steps of an episode that is looked into as a whole: what that takes grows with them."""


class Task(ABC):
    """A distribution over episodes with a right answer at some steps.

    Args:
        config: what to build the task from.
        observation_size: features per observation.
        num_actions: actions to choose from.
        num_questions: questions per episode.
        max_episode_steps: the longest episode's length.
        recall_gap: steps between seeing a cue and having to answer it, the longest where it varies.
    """

    name: ClassVar[str]
    cue_step: ClassVar[int | None] = None
    """The step that shows the cue that is asked for first; None where that is not fixed."""

    def __init__(
        self,
        config: TaskConfig,
        *,
        observation_size: int,
        num_actions: int,
        num_questions: int,
        max_episode_steps: int,
        recall_gap: int,
    ):
        self.config = config
        self.observation_size, self.num_actions = observation_size, num_actions
        self.num_questions, self.max_episode_steps = num_questions, max_episode_steps
        self.recall_gap = recall_gap

    @abstractmethod
    def vector_env(
        self,
        num_envs: int,
        *,
        discrete: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> "TaskVectorEnv":
        """Return environments of this task side by side; the arguments are those of `TaskVectorEnv`."""

    @property
    def chance(self) -> float:
        """Expected success of an agent without a memory."""
        return 1 / self.config.num_cues

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return what integer `answers` to `targets` of the same shape earn, float32, whenever it is paid."""
        scored = np.where(answers == targets, self.config.reward_correct, self.config.reward_wrong)
        return np.where(targets == NO_QUESTION, 0.0, scored).astype(np.float32)

    def refuse(self, **legal: float | None) -> None:
        """Raise an `InputError` for an option that has another value than the only one that makes sense."""
        for option, value in legal.items():
            if (got := getattr(self.config, option)) != value:
                raise InputError(f"task.{option} {got}: {self.name} has no use for it (legal: {value})")


def check_length(num_steps: int, what: str) -> None:
    """See that whole episodes of `num_steps` steps can be looked into.

    Raises:
        InputError: naming `what` has them, if they are too long.
    """
    if num_steps > LONGEST_EPISODE:
        raise InputError(
            f"{what}: episodes of {num_steps:,} steps are too long to look into (legal: at most "
            f"{LONGEST_EPISODE:,})"
        )
