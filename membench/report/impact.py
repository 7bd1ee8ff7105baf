"""The deep dive's four tables "Hyperparameter Impact": its words beside what these runs measured.

Its adjectives become numbers: *speed* is training steps per second; *convergence*, the median steps until
solved; *stability*, the standard deviation of success over seeds, and how many runs were lost; *best for*,
the tasks in which a value did best: most runs solved, then fewest steps.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from membench.report import text
from membench.report.frame import is_lost, median_time, names_without, num_solved, varying_settings
from membench.report.looks import display_name
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
    """Return, task by task, the value of `setting` with which one memory's runs did best; ties have none."""
    best = {}
    for task, here in runs.groupby("task_name", sort=False):
        ranks = {value: rank(chosen) for value, chosen in here.groupby(setting)}
        top = max(ranks.values())
        winners = [value for value, its_rank in ranks.items() if its_rank == top]
        if len(winners) == 1 and len(ranks) > 1:
            best[str(task)] = winners[0]
    return best


def rank(runs: pd.DataFrame) -> tuple[float, float]:
    """Return what runs of one task are compared by: share solved, then fewer steps to that if they were seen.

    Success short of that is left out: where nothing is solved, its differences are mostly noise.
    """
    median = median_time(runs, "solved", "steps")
    return num_solved(runs) / len(runs), -math.inf if median.is_lower_bound else -median.value


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
        "parameters": runs.parameters.median(),
        "state_bytes": runs.state_bytes.median(),
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
        "Parameters": text.count(row["parameters"]),
        "State per environment": text.size(row["state_bytes"]),
        "Did best at": "; ".join(row["best"]) or text.NOTHING,
    }
