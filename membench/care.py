"""How runs under way are looked after: nothing here changes what comes of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Care:
    """How often a run is saved, and how long it may seem to stand still."""

    checkpoint_seconds: float = 60.0
    """Time between two checkpoints of a run; one is written after an update, however long that takes."""
    stall_seconds: float = 1800.0
    """A process that takes no step for so long is replaced. Building and compiling an agent and the
    examination at the end are no steps either."""


DEFAULT_CARE = Care()
