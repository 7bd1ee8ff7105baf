"""How a report reads a frame of runs: in a fixed order, cell by cell, every run counted.

A run that diverged or failed counts with the success that it reached, at chance where none could be measured,
and as never solved.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from membench import stats
from membench.report.looks import in_order
from membench.stats import MedianTime

WHOLE_NUMBERS = ["steps_to_solved", "steps_to_sampled_95", "peak_memory_bytes", "state_bytes", "parameters"]
FRACTIONS = ["success", "train_success", "seconds_to_solved", "seconds_to_sampled_95", "steps_per_second"]
"""Columns of numbers that can be missing; NaN then, so that both kinds are floats in a tidy frame."""


class Cell(NamedTuple):
    """The runs of one architecture at one horizon."""

    architecture: str
    horizon: int
    runs: pd.DataFrame

    @property
    def key(self) -> dict[str, str | int]:
        """The first columns of every table by cell."""
        return {"architecture": self.architecture, "horizon": self.horizon, "runs": len(self.runs)}


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame of `records.to_frame` in a fixed order, with `counted_success` for every run.

    Missing numbers are NaN. `counted_success` is `success`, or `chance` where that was not measured.
    """
    frame = frame.assign(**{name: frame[name].astype(float) for name in WHOLE_NUMBERS + FRACTIONS})
    frame["counted_success"] = frame.success.fillna(frame.chance.astype(float))
    places = {name: place for place, name in enumerate(in_order(frame.architecture))}
    frame["place"] = frame.architecture.map(places)
    frame = frame.sort_values(["place", "horizon", "seed", "run_id"], ignore_index=True)
    return frame.drop(columns="place")


def cells(frame: pd.DataFrame) -> Iterator[Cell]:
    """Yield the cells of a tidy frame that have runs, horizon by horizon."""
    for horizon, at_horizon in frame.groupby("horizon"):
        for architecture, runs in at_horizon.groupby("architecture", sort=False):
            yield Cell(str(architecture), int(str(horizon)), runs)


def is_lost(runs: pd.DataFrame) -> pd.Series:
    """Return which runs diverged or failed."""
    return runs.status.isin(["diverged", "failed"])


def num_solved(runs: pd.DataFrame) -> int:
    """Return how many runs ended as solved."""
    return int((runs.status == "solved").sum())


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
    times = runs[f"{unit}_to_{milestone}"]
    return stats.median_time(times, censored_at(runs, unit))
