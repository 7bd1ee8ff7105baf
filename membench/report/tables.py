"""A frame of runs -> the tables of a report, each as values (for programs) and as text (for people).

Every run counts: one that diverged or failed before its success could be measured counts at chance.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd

from membench import stats
from membench.report import text
from membench.report.looks import display_name, in_order
from membench.stats import MedianTime

NUMBERS = (
    "success train_success steps_to_solved seconds_to_solved steps_to_sampled_95 seconds_to_sampled_95 "
    "steps_per_second peak_memory_bytes state_bytes parameters"
).split()
"""Columns of numbers that can be missing."""

MILESTONES = [(unit, milestone) for milestone in ("solved", "sampled_95") for unit in ("steps", "seconds")]


class Table(NamedTuple):
    """One table of a report."""

    values: pd.DataFrame
    shown: pd.DataFrame
    """The same for people: strings under headings."""


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
    frame = frame.assign(**{name: pd.to_numeric(frame[name]).astype(float) for name in NUMBERS})
    frame["counted_success"] = frame.success.fillna(frame.chance.astype(float))
    places = {name: place for place, name in enumerate(in_order(frame.architecture))}
    frame["place"] = frame.architecture.map(places)
    frame = frame.sort_values(["place", "horizon", "seed", "run_id"], ignore_index=True)
    return frame.drop(columns="place")


def cells(frame: pd.DataFrame) -> Iterator[Cell]:
    """Yield the cells of a tidy frame that have runs."""
    for (architecture, horizon), runs in frame.groupby(["architecture", "horizon"], sort=False):
        yield Cell(architecture, horizon, runs)


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
    return pd.Series(last, runs.index, dtype=float).mask(
        runs.status.isin(["diverged", "failed"]), float("inf")
    )


def median_time(runs: pd.DataFrame, milestone: str, unit: str) -> MedianTime:
    """Return the median `unit` ("steps" or "seconds") to a milestone ("solved" or "sampled_95")."""
    times = runs[f"{unit}_to_{milestone}"]
    return stats.median_time(times.to_numpy(), censored_at(runs, unit).to_numpy())


def headline_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the result at a glance, as text: a row per architecture, a column per horizon, and the cost.

    Args:
        frame: of `records.to_frame`; may be empty.
    """
    frame = tidy(frame)
    horizons = sorted(frame.horizon.unique())
    rows = []
    for architecture, runs in frame.groupby("architecture", sort=False):
        row = {"memory": display_name(str(architecture))}
        for horizon in horizons:
            here = runs[runs.horizon == horizon]
            mean = text.share(here.counted_success.mean())
            row[f"horizon {horizon}"] = f"{solved_of(here)}, {mean}" if len(here) else text.NOTHING
        row["parameters"] = text.count(runs.parameters.median())
        speed = runs.steps_per_second[runs.horizon == horizons[-1]].median()
        row[f"steps/s at {horizons[-1]}"] = text.rounded(speed)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["memory", "parameters", "steps/s"])


def success_table(frame: pd.DataFrame) -> Table:
    """Return success by architecture and horizon: mean, interval over seeds, every seed's value."""
    rows, intervals = [], []
    for cell in cells(frame):
        success = cell.runs.counted_success
        found = stats.bootstrap_interval(success.tolist())
        intervals.append(_interval_or_why_not(success))
        rows.append(
            cell.key
            | {
                "solved": num_solved(cell.runs),
                "mean": success.mean(),
                "interquartile_mean": stats.interquartile_mean(success.tolist()),
                "interval_low": found.low if found else None,
                "interval_high": found.high if found else None,
                "by_seed": " ".join(map(str, success)),
            }
        )
    columns = "architecture horizon runs solved mean interquartile_mean interval_low interval_high by_seed"
    values = pd.DataFrame(rows, columns=columns.split())
    shown = _shown_key(values) | {
        "Solved": values.solved.map(str),
        "Mean success": values["mean"].map(text.share),
        "Interquartile mean": values.interquartile_mean.map(text.share),
        "95 % interval of the mean": intervals,
        "Every seed": [" ".join(text.share(float(one)) for one in seeds.split()) for seeds in values.by_seed],
    }
    return Table(values, pd.DataFrame(shown))


def steps_to_solved_table(frame: pd.DataFrame) -> Table:
    """Return the median steps and seconds to solved and to 95 % of sampled answers."""
    rows = []
    for cell in cells(frame):
        row = cell.key | {"solved": num_solved(cell.runs)}
        for unit, milestone in MILESTONES:
            median = median_time(cell.runs, milestone, unit)
            name = f"{unit}_to_{milestone}"
            row |= {f"median_{name}": median.value, f"{name}_is_lower_bound": median.is_lower_bound}
        rows.append(row)
    names = [f"{unit}_to_{milestone}" for unit, milestone in MILESTONES]
    medians = [column for name in names for column in (f"median_{name}", f"{name}_is_lower_bound")]
    values = pd.DataFrame(rows, columns=["architecture", "horizon", "runs", "solved", *medians])
    shown = _shown_key(values) | {
        "Solved": values.solved.map(str),
        "Median steps to solved": _shown_times(values, "steps_to_solved", text.count),
        "Median seconds to solved": _shown_times(values, "seconds_to_solved", text.seconds),
        "Median steps to 95 % sampled": _shown_times(values, "steps_to_sampled_95", text.count),
        "Median seconds to 95 % sampled": _shown_times(values, "seconds_to_sampled_95", text.seconds),
    }
    return Table(values, pd.DataFrame(shown))


def cost_table(frame: pd.DataFrame) -> Table:
    """Return speed, parameters, state and memory by architecture and horizon: medians over runs."""
    medians = "steps_per_second parameters state_bytes peak_memory_bytes".split()
    rows = [cell.key | cell.runs[medians].median().to_dict() for cell in cells(frame)]
    values = pd.DataFrame(rows, columns=["architecture", "horizon", "runs", *medians])
    shown = _shown_key(values) | {
        "Training steps/s": values.steps_per_second.map(text.rounded),
        "Parameters": values.parameters.map(text.count),
        "State per environment": values.state_bytes.map(text.size),
        "Peak memory": values.peak_memory_bytes.map(text.size),
    }
    return Table(values, pd.DataFrame(shown))


def runs_table(frame: pd.DataFrame) -> Table:
    """Return one row per run."""
    values = frame.drop(columns=["curve"])
    shown = {
        "Memory": values.architecture.map(display_name),
        "Horizon": values.horizon.map(str),
        "Seed": values.seed.map(str),
        "Status": values.status,
        "Success": values.success.map(text.share),
        "Steps": values.steps.map(text.count),
        "Steps to solved": values.steps_to_solved.map(text.count),
        "Seconds": values.seconds.map(text.seconds),
        "Steps/s": values.steps_per_second.map(text.rounded),
        "Error": values.error.fillna(""),
    }
    return Table(values, pd.DataFrame(shown, dtype=str))


def _shown_key(values: pd.DataFrame) -> dict[str, pd.Series]:
    return {
        "Memory": values.architecture.map(display_name),
        "Horizon": values.horizon.map(str),
        "Runs": values.runs.map(str),
    }


def _shown_times(values: pd.DataFrame, name: str, unit: Callable[[float], str]) -> list[str]:
    medians = zip(values[f"median_{name}"], values[f"{name}_is_lower_bound"], strict=True)
    return [text.time(MedianTime(*median), unit) for median in medians]


def _interval_or_why_not(success: pd.Series) -> str:
    if len(success) < stats.MIN_SEEDS_FOR_INTERVAL:
        return f"fewer than {stats.MIN_SEEDS_FOR_INTERVAL} seeds"
    found = stats.bootstrap_interval(success.tolist())
    return text.interval(found) if found else "all seeds equal"
