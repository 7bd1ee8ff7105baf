"""Schedules: pure functions of the progress p of training, from 0 to 1."""

import math

from membench.config import Stage

EPOCHS_PER_RUN = 40
"""The deep dive's step decay halves every 10 epochs and does not say what an epoch is: here 1/40 of a run, so
that the learning rate is halved three times, the last quarter at an eighth."""


def learning_rate(schedule: str, initial: float, progress: float) -> float:
    """Return the learning rate at `progress` under a `constant`, `cosine` (to zero) or `step` schedule."""
    match schedule:
        case "constant":
            return initial
        case "cosine":
            return 0.5 * initial * (1 + math.cos(math.pi * progress))
        case "step":
            return initial * 0.5 ** (min(EPOCHS_PER_RUN - 1, int(progress * EPOCHS_PER_RUN)) // 10)
    raise ValueError(f"schedule {schedule!r}: must be constant, cosine or step")


def geometric(start: float, end: float, progress: float) -> float:
    """Return the value at `progress` on the geometric path from start to end; both positive or both zero."""
    return start if start == end else start * (end / start) ** progress


def stage_horizon(curriculum: list[Stage], steps: int) -> int:
    """Return the horizon to train at after `steps` steps of a curriculum; the last one when all are done."""
    for stage in curriculum:
        if steps < stage.timesteps:
            return stage.horizon
        steps -= stage.timesteps
    return curriculum[-1].horizon
