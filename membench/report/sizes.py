"""Sizes of agents, of runs that may be of several: parameters, and bytes of state per environment."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from membench.report import text
from membench.report.differences import SIZE

SHOWN: dict[str, Callable[[float], str]] = {"parameters": text.count, "state_bytes": text.size}
"""Every size and how it is written."""


def size_columns(*names: str) -> list[str]:
    """Return the columns of a table's values that `sizes` fills."""
    return [f"{name}{end}" for name in names for end in ("", "_least", "_most")]


def sizes(runs: pd.DataFrame, *names: str) -> dict[str, float]:
    """Return sizes of the agents of runs, by `size_columns`: the median, the least and the most; NaN of none.

    The median is the lower one: of two agents the mean would be no agent's.

    Args:
        runs: tidy.
        names: of `SHOWN`.
    """
    found: list[float] = []
    for name in names:
        found += [runs[name].quantile(0.5, interpolation="lower"), runs[name].min(), runs[name].max()]
    return dict(zip(size_columns(*names), found, strict=True))


def shown_size(row: Mapping[str, Any], name: str) -> str:
    """Return what `sizes` found of one size for people: from least to most where the agents differ in it."""
    median, least, most = (row[column] for column in size_columns(name))
    if not SIZE.order(most, least):
        return SHOWN[name](median)
    return "–".join(dict.fromkeys(map(SHOWN[name], (least, most))))


def shown_sizes(values: pd.DataFrame, name: str) -> list[str]:
    """Return `shown_size` of every row of a table's values."""
    return [shown_size(row, name) for row in values.to_dict("records")]
