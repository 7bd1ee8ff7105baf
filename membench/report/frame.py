"""How a report reads a frame of runs: in a fixed order, cell by cell, every run counted.

A run that diverged or failed counts with the success that it reached, at chance where none could be measured,
and as never solved.
"""

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pandas as pd

from membench import stats
from membench.report.looks import in_order
from membench.stats import MedianTime

WHOLE_NUMBERS = [
    "frontier",
    "steps_to_solved",
    "steps_to_sampled_95",
    "peak_memory_bytes",
    "state_bytes",
    "parameters",
    "matched_parameters",
    "num_answers",
]
FRACTIONS = [
    "success",
    "sampled_success",
    "train_success",
    "seconds_to_solved",
    "seconds_to_sampled_95",
    "steps_per_second",
    "flops_per_step",
]
"""Columns of numbers that can be missing; NaN then, so that both kinds are floats in a tidy frame."""


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"


CELL_COLUMNS: dict[str, Callable[[Any], str]] = {
    "task": str,
    "first_horizon": "horizon {}".format,
    "num_items": _items,
    "num_cues": "{} cues".format,
    "query_flag": "query flag".format,
    "observation_noise": "noise {}".format,
    "distractors": "distractors {}".format,
    "min_horizon": "delay from {:.0f}".format,
    "reveal_cue": "cue revealed".format,
    "reward_delay": "reward delay {}".format,
    "objective": str,
}
"""What tells tasks apart and how each is named; flags and noise are named where there are some."""

FOR_THE_LATEST = ["Overwrite-v0"]
"""Tasks that ask for the latest of their items, and for no other."""

SETTING_NAMES: dict[str, Callable[[Any], str]] = {
    "memory.num_slots": "{:.0f} slots".format,
    "memory.hidden_size": "{:.0f} units".format,
    "memory.num_layers": lambda number: "1 layer" if number == 1 else f"{number:.0f} layers",
    "ppo.learning_rate": "learning rate {:g}".format,
    "ppo.learning_rate_schedule": "{} rate".format,
    "ppo.entropy_start": "entropy from {:g}".format,
    "ppo.entropy_end": "to {:g}".format,
    "curriculum": lambda stages: f"curriculum {_horizons(stages)}" if stages else "direct",
    "agent.head": "{} head".format,
    "ppo.max_grad_norm": lambda norm: f"clipped at {norm:g}" if norm else "not clipped",
    "ppo.num_envs": "{:.0f} environments".format,
    "compute.precision": str,
    "memory.residual": lambda is_on: "residual" if is_on else "no residual",
    "memory.layer_norm": lambda is_on: "LayerNorm" if is_on else "no LayerNorm",
}
"""How settings are named that tell cells apart; others by their last word and their value."""


def _horizons(stages: str) -> str:
    return " to ".join(stage.partition(":")[0] for stage in stages.split(","))


def name_of(column: str, value: Any) -> str:
    """Return what a cell is called for one of the `varying_columns`."""
    if name := (CELL_COLUMNS | SETTING_NAMES).get(column):
        with suppress(ValueError):  # a number's name, of an option that a record has as text
            return name(value)
    shown = f"{value:g}" if isinstance(value, float) else value
    return f"{column.rpartition('.')[2].replace('_', ' ')} {shown}"


class Cell(NamedTuple):
    """The runs of one architecture in one cell of the grid."""

    architecture: str
    name: str
    """What tells the cell from others of the frame: its horizon, as a number, where that is all."""
    runs: pd.DataFrame

    @property
    def key(self) -> dict[str, str | int]:
        """The first columns of every table by cell."""
        horizon = int(self.runs.first_horizon.iloc[0])
        return {
            "architecture": self.architecture,
            "cell": self.name,
            "horizon": horizon,
            "runs": len(self.runs),
        }


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame of `membench.frame.to_frame` in a fixed order, with some columns more.

    Missing numbers are NaN. `processor_speed` is training steps per second of the processor's time on a CPU,
    so that what else runs there slows none down, and per second on a GPU. `counted_success` is `success`, or
    `chance` where that was not measured; `bits` is what it recalled of `bits_shown`; `cell` names the run's
    cell; `cell_place` is that cell's place in the order. Every setting that differs between the runs of one
    memory is a column, missing where not stated.
    """
    frame = frame.assign(**_varying_settings(frame))
    frame = frame.assign(**{name: frame[name].astype(float) for name in WHOLE_NUMBERS + FRACTIONS})
    frame["processor_speed"] = _processor_speed(frame)
    frame["counted_success"] = frame.success.fillna(frame.chance.astype(float))
    held = frame.num_items.mask(frame.task.isin(FOR_THE_LATEST), 1)
    asked = list(zip(held, frame.num_cues, strict=True))
    frame["bits"] = [
        stats.bits_recalled(success, items, cues)
        for success, (items, cues) in zip(frame.counted_success, asked, strict=True)
    ]
    frame["bits_shown"] = [stats.bits_recalled(1.0, items, cues) for items, cues in asked]
    varying = varying_columns(frame)
    order = list(dict.fromkeys(["first_horizon", *varying]))
    frame["cell_place"] = frame.groupby(order, sort=True, dropna=False).ngroup()
    frame["cell"] = _cell_names(frame, varying)
    places = {name: place for place, name in enumerate(in_order(frame.architecture))}
    frame["place"] = frame.architecture.map(places)
    frame = frame.sort_values(["place", "cell_place", "seed", "run_id"], ignore_index=True)
    return frame.drop(columns="place")


def _varying_settings(frame: pd.DataFrame) -> dict[str, list]:
    """Return the settings that differ between runs of one memory, each as a column."""
    by_memory = [list(runs) for _, runs in frame.groupby("architecture").settings]
    names = dict.fromkeys(name for settings in frame.settings for name in settings)
    return {
        name: [settings.get(name) for settings in frame.settings]
        for name in names
        if any(len({settings.get(name) for settings in runs}) > 1 for runs in by_memory)
    }


def varying_settings(frame: pd.DataFrame) -> list[str]:
    """Return the settings that tell cells of a tidy frame apart."""
    stated = {name for settings in frame.settings for name in settings}
    return [name for name in frame.columns if name in stated]


def varying_columns(frame: pd.DataFrame) -> list[str]:
    """Return which columns of a tidy frame tell cells apart.

    A revealed cue does only where one memory has runs with and without: it is what makes the oracle one.
    """
    by_memory = [runs for _, runs in frame.groupby("architecture")]
    varying = [
        name
        for name in CELL_COLUMNS
        if any(
            len(runs[name].drop_duplicates()) > 1 for runs in (by_memory if name == "reveal_cue" else [frame])
        )
    ]
    return varying + varying_settings(frame)


def _processor_speed(frame: pd.DataFrame) -> pd.Series:
    """Return training steps per second, as if the run had had the processor to itself all the time."""
    waited = (frame.seconds / frame.cpu_seconds).where((frame.device == "cpu") & (frame.cpu_seconds > 0), 1.0)
    return frame.steps_per_second * waited


def _cell_names(frame: pd.DataFrame, varying: list[str]) -> pd.Series:
    if not set(varying) - {"first_horizon"}:
        return frame.first_horizon.map(str)
    return pd.Series(
        [_cell_name(row, varying) for row in frame.to_dict("records")], frame.index, dtype=object
    )


def names_without(frame: pd.DataFrame, column: str) -> list[str]:
    """Return, run by run of a tidy frame, what its cell is called if `column` does not tell cells apart."""
    varying = [name for name in varying_columns(frame) if name != column] or ["first_horizon"]
    return [_cell_name(row, varying) for row in frame.to_dict("records")]


def _cell_name(row: dict[Hashable, Any], varying: list[str]) -> str:
    parts = [name_of(name, row[name]) for name in varying if not _goes_without_saying(name, row[name])]
    return ", ".join(parts) or "plain"


def _goes_without_saying(name: str, value: Any) -> bool:
    """Return whether a cell's name is silent about a value: one not stated, or a flag that is off.

    A shortest delay of 0 is neither.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    is_off = value is False or (isinstance(value, float) and value == 0)
    return is_off and name in CELL_COLUMNS and name != "min_horizon"


def differ_by_horizon_only(frame: pd.DataFrame) -> bool:
    """Return whether the cells of a tidy frame are named by their horizons alone."""
    return bool((frame.cell == frame.first_horizon.map(str)).all())


def cell_names(frame: pd.DataFrame) -> list[str]:
    """Return the names of the cells of a tidy frame, in order."""
    return list(frame.sort_values("cell_place").cell.unique())


def cell_heading(frame: pd.DataFrame) -> str:
    """Return what tells the cells of a tidy frame apart."""
    if differ_by_horizon_only(frame):
        return "Horizon"
    return "Setting" if varying_settings(frame) else "Task"


def cells(frame: pd.DataFrame) -> Iterator[Cell]:
    """Yield the cells of a tidy frame that have runs, in order."""
    for name in cell_names(frame):
        for architecture, runs in frame.loc[frame.cell == name].groupby("architecture", sort=False):
            yield Cell(str(architecture), name, runs)


def is_lost(runs: pd.DataFrame) -> pd.Series:
    """Return which runs diverged or failed."""
    return runs.status.isin(["diverged", "failed"])


def num_solved(runs: pd.DataFrame) -> int:
    """Return how many runs ended as solved."""
    return int((runs.status == "solved").sum())


def is_below_mark(runs: pd.DataFrame, success: str = "success") -> pd.Series:
    """Return which runs ended as solved, and were below their mark on the fresh episodes after training.

    Args:
        runs: of a tidy frame.
        success: the column that is compared with the mark, that of the greedy policy or `sampled_success`.
    """
    marks = [settings["evaluation.solved_at"] for settings in runs.settings]
    return (runs.status == "solved") & (runs[success] < marks)


def solved_of(runs: pd.DataFrame) -> str:
    """Return how many runs ended as solved, for people."""
    return f"{num_solved(runs)}/{len(runs)} solved"


def censored_at(runs: pd.DataFrame, unit: str) -> pd.Series:
    """Return until when ("steps" or "seconds") each run was evaluated; infinite if it diverged or failed.

    A run that ended otherwise might have got further; one that diverged or failed never will.
    """
    last = [getattr(curve[-1], unit) if curve else 0.0 for curve in runs.curve]
    return pd.Series(last, runs.index, dtype=float).mask(is_lost(runs), float("inf"))


def median_time(runs: pd.DataFrame, milestone: str, unit: str) -> MedianTime:
    """Return the median `unit` ("steps" or "seconds") to a milestone ("solved" or "sampled_95")."""
    return stats.median_time(times_to(runs, milestone, unit), censored_at(runs, unit))


def times_to(runs: pd.DataFrame, milestone: str, unit: str) -> pd.Series:
    """Return run by run what `median_time` is of; missing if it was not reached, or the run lost after it."""
    return pd.Series(runs[f"{unit}_to_{milestone}"].mask(is_lost(runs)))


def is_ladder(frame: pd.DataFrame) -> bool:
    """Return whether the runs of a frame, of which there are some, climbed ladders."""
    return len(frame) > 0 and bool(frame.ladder.all())


def varies_in_what_is_shown(frame: pd.DataFrame) -> bool:
    """Return whether a tidy frame holds one task with different numbers of items or cues.

    Of different tasks, the same numbers say different things about what is to be held.
    """
    what_is_shown = frame[["num_items", "num_cues"]].drop_duplicates()
    return len(set(frame.task)) == 1 and len(what_is_shown) > 1
