"""A frame of runs -> the tables of a report, each as values (for programs) and as text (for people)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from membench import stats
from membench.report import text
from membench.report.frame import WHOLE_NUMBERS, cells, median_time, num_solved, tidy
from membench.report.looks import display_name
from membench.stats import Interval, MedianTime

MILESTONES = [(unit, milestone) for milestone in ("solved", "sampled_95") for unit in ("steps", "seconds")]


class Table(NamedTuple):
    """One table of a report."""

    values: pd.DataFrame
    shown: pd.DataFrame
    """The same for people: strings under headings."""


def headline_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the result at a glance, as text: a row per architecture, a column per horizon, and the cost.

    Args:
        frame: of `records.to_frame`; may be empty.
    """
    frame = tidy(frame)
    horizons = sorted(frame.horizon.unique())
    rows = []
    for architecture, runs in frame.groupby("architecture", sort=False):
        row = {"Memory": display_name(str(architecture))}
        for horizon in horizons:
            here = runs.loc[runs.horizon == horizon]
            found = f"{text.share(here.counted_success.mean())} ({num_solved(here)}/{len(here)})"
            row[f"Horizon {horizon}"] = found if len(here) else text.NOTHING
        row["Parameters"] = text.count(runs.parameters.median())
        speed = runs.steps_per_second[runs.horizon == horizons[-1]].median()
        row[f"Steps/s at {horizons[-1]}"] = text.rounded(speed)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["Memory", "Parameters", "Steps/s"])


def success_table(frame: pd.DataFrame) -> Table:
    """Return success by architecture and horizon: mean, interval over seeds, every seed's value."""
    rows, intervals = [], []
    for cell in cells(frame):
        success = cell.runs.counted_success
        enough = len(success) >= stats.MIN_SEEDS_FOR_INTERVAL
        found = stats.bootstrap_interval(success.tolist())
        intervals.append(_interval_or_why_not(found, enough))
        rows.append(
            cell.key
            | {
                "solved": num_solved(cell.runs),
                "mean": success.mean(),
                "interquartile_mean": stats.interquartile_mean(success.tolist()) if enough else math.nan,
                "interval_low": found.low if found else math.nan,
                "interval_high": found.high if found else math.nan,
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
    medians = ["steps_per_second", "parameters", "state_bytes", "peak_memory_bytes"]
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
    shown = {
        "Memory": frame.architecture.map(display_name),
        "Horizon": frame.horizon.map(str),
        "Seed": frame.seed.map(str),
        "Status": frame.status,
        "Success": frame.success.map(text.share),
        "Steps": frame.steps.map(text.count),
        "Steps to solved": frame.steps_to_solved.map(text.count),
        "Seconds": frame.seconds.map(text.seconds),
        "Steps/s": frame.steps_per_second.map(text.rounded),
        "Error": frame.error.fillna(""),
    }
    values = frame.drop(columns="curve").astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))
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


def _interval_or_why_not(found: Interval | None, enough_seeds: bool) -> str:
    if not enough_seeds:
        return f"fewer than {stats.MIN_SEEDS_FOR_INTERVAL} seeds"
    return text.interval(found) if found else "all seeds equal"
