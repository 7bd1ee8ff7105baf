"""The laws that every memory obeys, and those that the harness obeys with any memory in it.

A law is a function that takes `build`, which returns a fresh memory each time it is called, and raises
`LawBroken` with the smallest failing case and what such a failure usually means. Laws state a property and
try it on inputs of several kinds; they know nothing of any architecture. `membench.check` runs them all.
"""

from collections.abc import Callable
from typing import TypeAlias

from membench.laws.comparing import LawBroken
from membench.laws.determinism import determinism
from membench.laws.devices import device_cleanliness
from membench.laws.gradients import gradient_reach
from membench.laws.harness import (
    first_minibatch,
    independent_episodes,
    open_loop_equals_stepping,
    padded_rows,
    padding_is_silent,
)
from membench.laws.numerics import finite
from membench.laws.purity import purity
from membench.laws.segments import long_episodes, segmentation
from membench.laws.states import state_shape
from membench.laws.storage import save_and_load
from membench.laws.subject import STEPS, Build
from membench.laws.values import causality, row_independence

__all__ = ["CAUSES", "HARNESS_LAWS", "LAWS", "STEPS", "Build", "Law", "LawBroken"]

Law: TypeAlias = Callable[[Build], None]

LAWS: dict[str, Law] = {
    "state shape": state_shape,
    "purity": purity,
    "determinism": determinism,
    "dtype": finite,
    "segmentation": segmentation,
    "long episodes": long_episodes,
    "causality": causality,
    "row independence": row_independence,
    "gradient reach": gradient_reach,
    "device cleanliness": device_cleanliness,
    "save and load": save_and_load,
}

CAUSES = ("state shape", "purity", "determinism", "dtype")
"""The first of `LAWS`: where one of them is broken, others break with it and name a wrong cause."""

HARNESS_LAWS: dict[str, Law] = {
    "padded rows": padded_rows,
    "padding is silent": padding_is_silent,
    "independent episodes": independent_episodes,
    "first minibatch": first_minibatch,
    "open loop equals stepping": open_loop_equals_stepping,
}
