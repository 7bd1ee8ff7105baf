"""What a run has reached so far: how good its latest episodes were, and when something first held."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

TRAINING_WINDOW = 320
"""Training episodes that `train_success` and `steps_to_sampled_95` look back on."""


class SuccessWindow:
    """Share of right answers over the latest training episodes."""

    def __init__(self, episodes: Iterable[tuple[int, int]] = ()) -> None:
        self._episodes: deque[tuple[int, int]] = deque(episodes, maxlen=TRAINING_WINDOW)

    @property
    def episodes(self) -> list[tuple[int, int]]:
        """Right answers and questions of every episode that it holds."""
        return list(self._episodes)

    def add(self, correct: Tensor, asked: Tensor) -> None:
        """Take in episodes [b t]: where each was right, and where it was asked."""
        self._episodes.extend(zip(correct.sum(1).tolist(), asked.sum(1).tolist(), strict=True))

    @property
    def success(self) -> float | None:
        """Right answers / questions; None before any."""
        asked = sum(asked for _, asked in self._episodes)
        return sum(correct for correct, _ in self._episodes) / asked if asked else None

    @property
    def is_good(self) -> bool:
        """Whether 95 % of the answers of as many episodes as the window holds were right."""
        return len(self._episodes) == TRAINING_WINDOW and (self.success or 0) >= 0.95


@dataclass
class Milestone:
    """The first time that something held."""

    steps: int | None = None
    seconds: float | None = None

    def reach(self, steps: int, seconds: float) -> None:
        """Note where training stands, unless the milestone was reached before."""
        if self.steps is None:
            self.steps, self.seconds = steps, seconds
