"""`membench check`: every law on one architecture, and for what does not hold, the smallest failing case."""

from typing import Any

import torch
from msgspec import Struct

from membench.catalogue import build_memory, check_memory_options, load_architecture, memory_options
from membench.compiler import leave_compiler_out
from membench.config import Settings
from membench.laws import HARNESS_LAWS, LAWS, STEPS, Build, Law, LawBroken
from membench.laws.comparing import trying
from membench.laws.surroundings import kept_surroundings
from membench.memory import Memory

TEST_SIZES = {
    "hidden_size": 16,
    "num_layers": 2,
    "num_heads": 2,
    "num_slots": 16,
    "slot_size": 6,
}
"""Options that an architecture is examined with where it has them; a law holds at any size."""

INPUT_SIZE = 5


class LawResult(Struct, frozen=True):
    """Whether one law holds."""

    name: str
    passed: bool
    detail: str = ""
    """What failed, and what that usually means."""


def small_options(name: str) -> Settings:
    """Return the options that laws are tried with: the usual ones that it has, and the class's own."""
    usual = {key: value for key, value in TEST_SIZES.items() if key in memory_options(name)}
    return usual | load_architecture(name).check_options


def check_architecture(name: str, options: Settings | None = None) -> list[LawResult]:
    """Run every law on the architecture `name`.

    Args:
        name: a built-in or plugin name, or `module:Class`.
        options: what to build it with, over `small_options(name)`.

    Raises:
        InputError: for an unknown name or option. An error inside the memory is a broken law, not raised.
    """
    build = _builder(name, check_memory_options(name, small_options(name) | (options or {})))
    leave_compiler_out()
    with kept_surroundings():
        torch.set_num_threads(1)  # at these sizes threads wait for one another, many times as long
        return [examine_law(law_name, law, build) for law_name, law in (LAWS | HARNESS_LAWS).items()]


def examine_law(name: str, law: Law, build: Build) -> LawResult:
    """Run one law, taking any error in the memory for a failure of it."""
    try:
        with kept_surroundings(), trying("the law could not be tried"):
            law(build)
    except LawBroken as broken:
        return LawResult(name, False, str(broken))
    return LawResult(name, True)


def _builder(name: str, options: dict[str, Any]) -> Build:
    def build() -> Memory:
        return build_memory(name, INPUT_SIZE, options, context_length=STEPS)

    return build
