"""The three comparison tables of the deep dive, each claim beside what these runs measured.

A feature that no run can measure keeps the document's word, and its cell says so. There are none where
settings tell cells apart: a memory's runs are of several agents then, and no one number is theirs.
"""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from membench.report import text
from membench.report.frame import is_lost, median_time, solved_of, varying_settings
from membench.report.looks import display_name
from membench.report.sizes import shown_size, sizes
from membench.report.tables import Table

STATED = "(stated)"
BY_COMPARE = "(stated; membench compare has what membench bench measured)"

Measure = Callable[[pd.DataFrame, int], str]
"""(one architecture's runs, longest horizon) -> what was measured."""


class Feature(NamedTuple):
    """One row of a comparison."""

    name: str
    claims: tuple[str, str]
    """What the document says of either side."""
    measured: Measure | str
    """How it is measured; text if it is not."""


def _long_sequences(runs: pd.DataFrame, horizon: int) -> str:
    here = runs.loc[runs.horizon == horizon]
    return f"{solved_of(here)}, success {text.share(here.counted_success.mean())} at horizon {horizon}"


def _training_speed(runs: pd.DataFrame, horizon: int) -> str:
    speed = text.rounded(runs.steps_per_second[runs.horizon == horizon].median())
    return f"{speed} steps/s at horizon {horizon}"


def _parameters(runs: pd.DataFrame, horizon: int) -> str:
    found = shown_size(sizes(runs, "parameters"), "parameters")
    if runs.matched_parameters.isna().any():
        return found
    targets = text.listed([text.count(target) for target in sorted(set(runs.matched_parameters))])
    return f"matched to {targets}: {found}"


def _state(runs: pd.DataFrame, horizon: int) -> str:
    state = shown_size(sizes(runs.loc[runs.horizon == horizon], "state_bytes"), "state_bytes")
    return f"{state} of state per environment at horizon {horizon}"


def _performance(runs: pd.DataFrame, horizon: int) -> str:
    success = text.share(runs.counted_success.mean())
    steps = text.time(median_time(runs.loc[runs.horizon == horizon], "solved", "steps"))
    return (
        f"{solved_of(runs)}, mean success {success} over all horizons; "
        f"median steps to solved at horizon {horizon}: {steps}"
    )


def _hardware(runs: pd.DataFrame, horizon: int) -> str:
    devices = sorted(set(runs.device[~is_lost(runs)]))
    return f"ran on {', '.join(devices)}" if devices else "every run was lost"


COMPARISONS: dict[tuple[str, str], list[Feature]] = {
    ("gru_pmm", "transformer"): [
        Feature("Memory", ("Explicit", "Implicit (attention)"), _state),
        Feature("Complexity", ("O(n)", "O(n²)"), BY_COMPARE),
        Feature("Long sequences", ("Good", "Excellent"), _long_sequences),
        Feature("Training speed", ("Fast", "Slow"), _training_speed),
        Feature("Parameters", ("1.5M", "10M+"), _parameters),
    ],
    ("gru", "lstm"): [
        Feature("Gates", ("2 (reset, update)", "3 (input, forget, output)"), STATED),
        Feature("Parameters", ("Fewer", "More"), _parameters),
        Feature("Speed", ("Faster", "Slower"), _training_speed),
        Feature("Performance", ("Similar", "Similar"), _performance),
    ],
    ("gru_pmm", "mamba"): [
        Feature("Architecture", ("RNN + Memory", "SSM"), STATED),
        Feature("Complexity", ("O(n)", "O(n)"), BY_COMPARE),
        Feature("Long sequences", ("Good", "Excellent"), _long_sequences),
        Feature("Hardware", ("CPU/GPU", "GPU only"), _hardware),
        Feature("Maturity", ("Stable", "Experimental"), STATED),
    ],
}
"""Pair -> the rows of the document's table, in its order."""


def document_words(left: str, right: str, feature: str) -> tuple[str, str] | None:
    """Return what the document says of two memories in one row of its table for that pair, if it has one."""
    for pair, features in COMPARISONS.items():
        for one in features:
            if one.name == feature and set(pair) == {left, right}:
                return one.claims if pair == (left, right) else (one.claims[1], one.claims[0])
    return None


def comparison_tables(frame: pd.DataFrame) -> dict[str, Table]:
    """Return the tables of the pairs that both ran, by name, as in `gru_vs_lstm`.

    Args:
        frame: tidy, with a column `device`; may be empty.
    """
    if varying_settings(frame):
        return {}
    memories = set(frame.architecture)
    return {
        f"{left}_vs_{right}": _comparison(frame, left, right)
        for left, right in COMPARISONS
        if {left, right} <= memories
    }


def _comparison(frame: pd.DataFrame, left: str, right: str) -> Table:
    pair = frame.loc[frame.architecture.isin([left, right])]
    longest = int(pair.horizon.max())
    rows = []
    for feature in COMPARISONS[left, right]:
        row = {"Feature": feature.name}
        for side, claim in zip((left, right), feature.claims, strict=True):
            name = display_name(side)
            row[f"{name}: the document"] = claim
            row[f"{name}: measured"] = _measured(feature, pair.loc[pair.architecture == side], longest)
        rows.append(row)
    shown = pd.DataFrame(rows)
    return Table(shown, shown)


def _measured(feature: Feature, runs: pd.DataFrame, longest: int) -> str:
    if isinstance(feature.measured, str):
        return feature.measured
    if not (runs.horizon == longest).any() and feature.measured not in (_parameters, _hardware):
        return f"not run at horizon {longest}"
    return feature.measured(runs, longest)
