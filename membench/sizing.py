"""Equal parameters: the width at which an agent has as many of them as another."""

import math
from collections.abc import Callable
from functools import cache

import msgspec
import torch

from membench.agent import build_agent
from membench.catalogue import check_memory_options, memory_options
from membench.compiler import leave_compiler_out
from membench.config import RunConfig, build_config, merge, nest, to_settings
from membench.describe import count_parameters
from membench.envs import make_task
from membench.errors import InputError
from membench.faults import blaming_memory

TOLERANCE = 0.05
WIDTH_STEPS = (8, 1)
"""Widths are multiples of the first, which suits attention heads and processors, else of the second."""

WIDEST = 2**14


def match_parameters(config: RunConfig, num_parameters: int) -> RunConfig:
    """Return `config` with the sizes that bring memory and heads nearest to `num_parameters`.

    That is the `hidden_size`; where its steps are too coarse and the memory has one, the `feedforward_size`
    too.

    Raises:
        InputError: for a memory without the option `hidden_size`, or if no width comes within 5 %; for
            what has nothing to do with the width, what is said of it without this.
    """
    if "hidden_size" not in memory_options(config.architecture):
        raise InputError(
            f"--match-parameters {num_parameters}: architecture {config.architecture!r} has no option "
            "hidden_size to match them with"
        )
    check_memory_options(config.architecture, config.memory)
    settings = to_settings(config)
    decisive = {name: settings[name] for name in ("architecture", "memory", "agent", "task")}
    # No parameter depends on the horizon: one for all, long enough for what the task shows.
    settings = merge(decisive, nest("task.horizon", max(config.task.num_items, config.task.min_horizon or 1)))
    sizes = _sizes(msgspec.json.encode(settings, order="sorted"), num_parameters)
    return msgspec.structs.replace(config, memory=config.memory | sizes, matched_parameters=num_parameters)


@cache
def _sizes(settings: bytes, num_parameters: int) -> dict[str, int]:
    """Return the options that bring an agent of these settings nearest to `num_parameters`."""
    config = build_config(msgspec.json.decode(settings))
    make_task(config.task)  # a fault of the task is none of the widths

    @cache
    def count(hidden_size: int, **sizes: int) -> float:
        memory = config.memory | {"hidden_size": hidden_size} | sizes
        try:
            return num_parameters_of(msgspec.structs.replace(config, memory=memory))
        except InputError:  # a width that this memory refuses
            return -math.inf

    def error(width: int) -> float:
        return abs(count(width) - num_parameters)

    high = 2 * max(WIDTH_STEPS)  # parameters grow with width: twice as wide, until there are enough of them
    while count(high) < num_parameters and high < WIDEST:
        high *= 2
    nearest = 0
    for step in WIDTH_STEPS if high < WIDEST else WIDTH_STEPS[:1]:
        nearest = min(range(high // 2, high + 1, step), key=error)
        if error(nearest) <= TOLERANCE * num_parameters:
            return {"hidden_size": nearest}
    if "feedforward_size" in memory_options(config.architecture).keys() - config.memory.keys():
        sizes = _with_feedforward_size(nearest, num_parameters, count)
        if sizes and abs(count(**sizes) - num_parameters) <= TOLERANCE * num_parameters:
            return sizes
    if count(nearest) == -math.inf:  # refused at every width, and why is what is to be told
        num_parameters_of(msgspec.structs.replace(config, memory=config.memory | {"hidden_size": nearest}))
    raise InputError(
        f"--match-parameters {num_parameters}: no width of {config.architecture!r} comes within 5 %; the "
        f"nearest, {nearest}, has {count(nearest):,.0f}"
    )


def _with_feedforward_size(nearest: int, num_parameters: int, count: Callable[..., float]) -> dict[str, int]:
    """Return the widest `hidden_size` with fewer parameters, and a feed-forward part that makes up for it."""
    fewer = (width for width in range(nearest, 0, -1) if 0 < count(width) <= num_parameters)
    if (width := next(fewer, None)) is None:
        return {}
    narrow = count(width, feedforward_size=1)
    per_unit = count(width, feedforward_size=2) - narrow
    return {"hidden_size": width, "feedforward_size": 1 + round((num_parameters - narrow) / per_unit)}


def num_parameters_of(config: RunConfig) -> int:
    """Return the trainable parameters of the agent of `config`, built without memory (meta device)."""
    leave_compiler_out()
    with torch.device("meta"), blaming_memory(config.architecture):
        return count_parameters(build_agent(config, make_task(config.task)))["total"]
