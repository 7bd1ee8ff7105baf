"""The deep dive's four tables "Hyperparameter Impact": its words beside what these runs measured.

Its adjectives become numbers: *speed* is training steps per second; *convergence*, the median steps until
solved; *stability*, the standard deviation of success over seeds, and how many runs were lost; *best for*,
the tasks in which a value did best: more runs solved than with any other, or as many in fewer steps, by more
than `membench.report.differences` calls alike.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from membench.report import text
from membench.report.differences import order_of_progress
from membench.report.frame import is_lost, median_time, names_without, num_solved, varying_settings
from membench.report.looks import display_name
from membench.report.sizes import shown_size, sizes
from membench.report.tables import Table


class Said(NamedTuple):
    """What the document says of the values of one setting."""

    heading: str
    columns: tuple[str, ...]
    rows: dict[float, tuple[str, ...]]
    row_of: Callable[[float], float] = float
    """The row that a value falls into."""


SAID = {
    "memory.hidden_size": Said(
        "Hidden units",
        ("Capacity", "Speed", "Best for"),
        {
            128: ("Low", "Fast", "Horizon <10"),
            256: ("Medium", "Medium", "Horizon 10-30"),
            512: ("High", "Slow", "Horizon >30"),
        },
    ),
    "memory.num_layers": Said(
        "Layers",
        ("Capacity", "Stability", "Best for"),
        {
            1: ("Low", "High", "Simple tasks"),
            2: ("Medium", "Medium", "Standard"),
            3: ("High", "Low", "Complex tasks"),
        },
        lambda number: min(number, 3),  # "3+"
    ),
    "memory.num_slots": Said(
        "Slots",
        ("Capacity", "Overhead", "Best for"),
        {
            32: ("4,096", "Low", "Few cues"),
            64: ("8,192", "Medium", "Standard"),
            128: ("16,384", "High", "Many cues"),
        },
    ),
    "ppo.learning_rate": Said(
        "Learning rate",
        ("Convergence", "Stability", "Best for"),
        {
            1e-4: ("Slow", "High", "Fine-tuning"),
            1e-3: ("Fast", "Medium", "Standard"),
            1e-2: ("Very fast", "Low", "Exploration"),
        },
    ),
}


def impact_setting(frame: pd.DataFrame) -> str | None:
    """Return the setting of `SAID` that alone tells the settings of a tidy frame apart; None if none does."""
    varying = varying_settings(frame)
    return varying[0] if len(varying) == 1 and varying[0] in SAID else None


def impact_table(frame: pd.DataFrame, setting: str) -> Table:
    """Return, for every memory and value of `setting`, the document's words and what was measured.

    Args:
        frame: tidy, with a column `setting`.
        setting: one of `SAID`.
    """
    said = SAID[setting]
    frame = frame.assign(task_name=names_without(frame, setting))
    rows, shown = [], []
    for architecture, runs in frame.groupby("architecture", sort=False):
        best = best_values(runs, setting)
        for value in sorted(set(runs[setting].dropna().astype(float))):
            chosen = runs.loc[runs[setting] == value]
            row = _measured(chosen) | {"best": [task for task, winner in best.items() if winner == value]}
            words = said.rows.get(said.row_of(value), ("not said",) * len(said.columns))
            name = display_name(str(architecture))
            rows.append({"architecture": architecture, setting: value} | _values(row))
            shown.append(
                {"Memory": name, said.heading: f"{value:g}"}
                | {f"{column} (document)": word for column, word in zip(said.columns, words, strict=True)}
                | _shown(row)
            )
    values = pd.DataFrame(rows).drop(columns="steps_to_solved")
    return Table(values, pd.DataFrame(shown))


def best_values(runs: pd.DataFrame, setting: str) -> dict[str, float]:
    """Return, task by task, the value of `setting` with which one memory's runs did best.

    A task in which several did alike has none; see `does_best_of_all`.
    """
    return {
        str(task): value
        for task, here in runs.groupby("task_name", sort=False)
        for value in set(here[setting].dropna())
        if does_best_of_all(here, setting, value)
    }


def does_best_of_all(runs: pd.DataFrame, setting: str, value: str | float) -> bool | None:
    """Return whether runs of one memory and task did better with `value` than with any other.

    None if they did not do worse than with any, but as well as with some, or if there is nothing to compare.
    """
    chosen, others = runs.loc[runs[setting] == value], runs.loc[runs[setting] != value]
    if chosen.empty:
        return None
    orders = {order_of_progress(chosen, other) for _, other in others.groupby(setting)}
    return False if -1 in orders else True if orders == {1} else None


def spread_over_seeds(runs: pd.DataFrame) -> float:
    """Return the standard deviation of success over seeds, the mean over cells.

    Infinite if all runs were lost, which is no stability; NaN from one seed per cell.
    """
    if is_lost(runs).all():
        return math.inf
    return float(runs.groupby("cell").counted_success.std(ddof=1).mean())


def shown_spread(spread: float) -> str:
    """Return `spread_over_seeds` for people."""
    return "all lost" if math.isinf(spread) else text.share(spread)


def _measured(runs: pd.DataFrame) -> dict[str, Any]:
    return {
        "runs": len(runs),
        "solved": num_solved(runs),
        "lost": int(is_lost(runs).sum()),
        "mean": runs.counted_success.mean(),
        "spread_over_seeds": spread_over_seeds(runs),
        "steps_per_second": runs.steps_per_second.median(),
        **sizes(runs, "parameters", "state_bytes"),
        "steps_to_solved": {
            task: median_time(here, "solved", "steps") for task, here in runs.groupby("task_name", sort=False)
        },
    }


def _values(row: dict[str, Any]) -> dict[str, Any]:
    steps = {}
    for task, median in row["steps_to_solved"].items():
        steps |= {f"Steps to solved, {task}": median.value, f"is_lower_bound, {task}": median.is_lower_bound}
    return row | {"best": "; ".join(row["best"])} | steps


def _shown(row: dict[str, Any]) -> dict[str, str]:
    steps = {f"Steps to solved, {task}": text.time(median) for task, median in row["steps_to_solved"].items()}
    return {
        "Solved": f"{row['solved']}/{row['runs']}",
        "Lost": str(row["lost"]),
        "Mean success": text.share(row["mean"]),
        "Spread over seeds": shown_spread(row["spread_over_seeds"]),
        **steps,
        "Training steps/s": text.rounded(row["steps_per_second"]),
        "Parameters": shown_size(row, "parameters"),
        "State per environment": shown_size(row, "state_bytes"),
        "Did best at": "; ".join(row["best"]) or text.NOTHING,
    }
