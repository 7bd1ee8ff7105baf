"""A table for people whose columns can be sorted by the unrounded values behind the text."""

import math
from typing import Literal, NamedTuple

import pandas as pd

from membench.report.tables import Table
from membench.report.text import is_of_numbers

SORTED_BY = {
    "Answers told": "supervised_solved",
    "Bits recalled": "bits",
    "Cue shown again": "revealed_solved",
    "Frontier": "median_frontier",
    "Mean success": "mean",
    "PPO": "ppo_solved",
    "Paired difference": "difference",
    "Peak memory": "peak_memory_bytes",
    "Probability of beating it": "probability",
    "Sampled": "sampled_success",
    "Seconds to it": "median_seconds_to_frontier",
    "State per environment": "state_bytes",
    "Steps to it": "median_steps_to_frontier",
    "Success there": "mean_success",
    "Training steps/s": "steps_per_second",
    "95 % interval of the mean": "interval_low",
}
"""Heading -> the column of a table's values that it stands for, where the names differ."""

LONGEST_ON_ONE_LINE = 30
"""Characters of a cell that is not broken into lines."""


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    value: str | None
    """The number to sort by, as text; empty where there is none, None in columns that are sorted as text."""
    kind: Literal["number", "sentence", ""]
    """Numbers are aligned right; a sentence may be broken into lines."""


def sortable_rows(table: Table) -> list[list[Cell]]:
    """Return the cells of a table, row by row."""
    columns = []
    for heading, shown in table.shown.items():
        values = _values(table.values, str(heading))
        aligned = is_of_numbers(shown)
        columns.append(
            [Cell(text, value, _kind(text, aligned)) for text, value in zip(shown, values, strict=True)]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def _kind(text: str, is_number: bool) -> Literal["number", "sentence", ""]:
    if is_number:
        return "number"
    return "sentence" if len(text) > LONGEST_ON_ONE_LINE else ""


def _values(values: pd.DataFrame, heading: str) -> list[str | None]:
    """Return what each cell of a column is sorted by."""
    name = "steps_per_second" if heading.startswith("Steps/s") else SORTED_BY.get(heading, heading)
    column = values.get(name, values.get(name.lower().replace(" ", "_")))
    if column is None or not pd.api.types.is_numeric_dtype(column):
        return [None] * len(values)
    return [_number(value) for value in column.astype(float)]


def _number(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "" if math.isnan(value) else repr(value)
