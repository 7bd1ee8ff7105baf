"""Equal parameters: the width at which an agent has as many of them as another."""

import math
from functools import cache, lru_cache

import msgspec
import torch

from membench.agent import build_agent
from membench.catalogue import check_memory_options, memory_options
from membench.config import RunConfig, build_config, merge, nest, to_settings
from membench.describe import count_parameters
from membench.envs import make_task
from membench.errors import InputError

TOLERANCE = 0.05
WIDTH_STEPS = (8, 1)
"""Widths are multiples of the first, which suits attention heads and processors, else of the second."""

WIDEST = 2**14


def match_parameters(config: RunConfig, num_parameters: int) -> RunConfig:
    """Return `config` with the `hidden_size` that brings memory and heads nearest to `num_parameters`.

    Raises:
        InputError: for a memory without the option `hidden_size`, or if no width comes within 5 %.
    """
    if "hidden_size" not in memory_options(config.architecture):
        raise InputError(
            f"--match-parameters {num_parameters}: architecture {config.architecture!r} has no option "
            "hidden_size to match them with"
        )
    check_memory_options(config.architecture, config.memory)
    settings = to_settings(config)
    decisive = {name: settings[name] for name in ("architecture", "memory", "agent", "task")}
    settings = merge(decisive, nest("task.horizon", 1))  # no parameter depends on the horizon
    width = _width(msgspec.json.encode(settings, order="sorted"), num_parameters)
    return msgspec.structs.replace(
        config, memory=config.memory | {"hidden_size": width}, matched_parameters=num_parameters
    )


@lru_cache
def _width(settings: bytes, num_parameters: int) -> int:
    config = build_config(msgspec.json.decode(settings))

    @cache
    def count(width: int) -> float:
        memory = config.memory | {"hidden_size": width}
        try:
            return num_parameters_of(msgspec.structs.replace(config, memory=memory))
        except InputError:  # a width that this memory refuses
            return -math.inf

    high = 2 * max(WIDTH_STEPS)  # parameters grow with width: twice as wide, until there are enough of them
    while count(high) < num_parameters and high < WIDEST:
        high *= 2
    nearest = 0
    for step in WIDTH_STEPS:
        nearest = min(range(high // 2, high + 1, step), key=lambda width: abs(count(width) - num_parameters))
        if abs(count(nearest) - num_parameters) <= TOLERANCE * num_parameters:
            return nearest
        if high == WIDEST:
            break
    raise InputError(
        f"--match-parameters {num_parameters}: no width of {config.architecture!r} comes within 5 %; the "
        f"nearest, {nearest}, has {count(nearest):,.0f}"
    )


def num_parameters_of(config: RunConfig) -> int:
    """Return the trainable parameters of the agent of `config`, built without memory (meta device)."""
    with torch.device("meta"):
        return count_parameters(build_agent(config, make_task(config.task)))["total"]
