"""A frame of runs -> the tables of a report, each as values (for programs) and as text (for people)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from membench import stats
from membench.frame import STRUCTURED
from membench.report import text
from membench.report.frame import (
    WHOLE_NUMBERS,
    cell_heading,
    cells,
    censored_at,
    median_time,
    num_solved,
    success_by_seed,
    times_to,
)
from membench.report.looks import display_name
from membench.report.sizes import SHOWN, shown_sizes, size_columns, sizes
from membench.stats import Interval, MedianTime

MILESTONES = [(unit, milestone) for milestone in ("solved", "sampled_95") for unit in ("steps", "seconds")]

KEY = ["architecture", "cell", "horizon", "runs"]
"""The first columns of every table by cell; see `Cell.key`."""


class Table(NamedTuple):
    """One table of a report."""

    values: pd.DataFrame
    shown: pd.DataFrame
    """The same for people: strings under headings."""


def success_table(frame: pd.DataFrame) -> Table:
    """Return success by architecture and cell: mean, interval over seeds, every seed's value."""
    rows, intervals = [], []
    for cell in cells(frame):
        success, by_seed = cell.runs.counted_success, success_by_seed(cell.runs)
        enough = len(by_seed) >= stats.MIN_SEEDS_FOR_INTERVAL
        found = stats.bootstrap_interval(by_seed)
        intervals.append(text.interval(found) if found else stats.why_no_interval([by_seed]))
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
    measured = ["solved", "mean", "interquartile_mean", "interval_low", "interval_high", "by_seed"]
    values = pd.DataFrame(rows, columns=[*KEY, *measured])
    shown = shown_key(values, frame) | {
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
        ends = censored_at(cell.runs, "steps")
        interval = stats.median_time_interval(times_to(cell.runs, "solved", "steps"), ends)
        has_repeated_seeds = cell.runs.seed.duplicated().any()  # whose times have no mean if one is censored
        low, high = (math.nan, math.nan) if interval is None or has_repeated_seeds else interval
        row |= {"steps_to_solved_low": low, "steps_to_solved_high": high}
        rows.append(row)
    names = [f"{unit}_to_{milestone}" for unit, milestone in MILESTONES]
    medians = [column for name in names for column in (f"median_{name}", f"{name}_is_lower_bound")]
    values = pd.DataFrame(
        rows, columns=[*KEY, "solved", *medians, "steps_to_solved_low", "steps_to_solved_high"]
    )
    shown = shown_key(values, frame) | {
        "Solved": values.solved.map(str),
        "Median steps to solved": shown_times(values, "steps_to_solved", text.count),
        "Its 95 % interval": [
            text.time_interval(Interval(*ends))
            for ends in zip(values.steps_to_solved_low, values.steps_to_solved_high, strict=True)
        ],
        "Median seconds to solved": shown_times(values, "seconds_to_solved", text.seconds),
        "Median steps to 95 % sampled": shown_times(values, "steps_to_sampled_95", text.count),
        "Median seconds to 95 % sampled": shown_times(values, "seconds_to_sampled_95", text.seconds),
    }
    return Table(values, pd.DataFrame(shown))


def cost_table(frame: pd.DataFrame) -> Table:
    """Return speed, parameters, state and memory by architecture and cell: medians over runs."""
    medians = ["steps_per_second", "peak_memory_bytes"]
    rows = [
        cell.key | cell.runs[medians].median().to_dict() | sizes(cell.runs, *SHOWN) for cell in cells(frame)
    ]
    values = pd.DataFrame(rows, columns=[*KEY, *medians, *size_columns(*SHOWN)])
    shown = shown_key(values, frame) | {
        "Training steps/s": values.steps_per_second.map(text.rounded),
        "Parameters": shown_sizes(values, "parameters"),
        "State per environment": shown_sizes(values, "state_bytes"),
        "Peak memory": values.peak_memory_bytes.map(text.size),
    }
    return Table(values, pd.DataFrame(shown))


def runs_table(frame: pd.DataFrame) -> Table:
    """Return one row per run, with the Wilson interval of its success (answers taken as independent).

    Under MAML they are not, and the table says so.
    """
    intervals = [_wilson_interval(*run) for run in zip(frame.success, frame.num_answers, strict=True)]
    shown = {
        "Memory": frame.architecture.map(display_name),
        cell_heading(frame): frame.cell,
        "Seed": frame.seed.map(str),
        "Status": frame.status,
        "Success": frame.success.map(text.share),
        "Its 95 % interval": [
            text.interval(found) if found else "answers share weights" if is_maml else text.NOTHING
            for found, is_maml in zip(intervals, frame.objective == "maml", strict=True)
        ],
        "Sampled": frame.sampled_success.map(text.share),
        "Steps": frame.steps.map(text.count),
        "Steps to solved": frame.steps_to_solved.map(text.count),
        "Seconds": frame.seconds.map(text.seconds),
        "Steps/s": frame.steps_per_second.map(text.rounded),
        "Error": frame.error.fillna(""),
    }
    unnamed = ["settings", "budget", "parts", "cell_place", "code", "machine"]
    values = frame.drop(columns=[*STRUCTURED, *unnamed])
    values["success_low"] = [found.low if found else math.nan for found in intervals]
    values["success_high"] = [found.high if found else math.nan for found in intervals]
    values = values.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))
    return Table(values, pd.DataFrame(shown, dtype=str))


def shown_key(values: pd.DataFrame, frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the columns `KEY` of a table of `frame` for people."""
    return {
        "Memory": values.architecture.map(display_name),
        cell_heading(frame): values.cell.map(str),
        "Runs": values.runs.map(str),
    }


def shown_times(values: pd.DataFrame, name: str, unit: Callable[[float], str]) -> list[str]:
    """Return median times for people, from columns `median_NAME` and `NAME_is_lower_bound`."""
    medians = zip(values[f"median_{name}"], values[f"{name}_is_lower_bound"], strict=True)
    return [text.time(MedianTime(*median), unit) for median in medians]


def _wilson_interval(success: float, num_answers: float) -> Interval | None:
    if math.isnan(success) or math.isnan(num_answers):
        return None
    return stats.wilson_interval(round(success * num_answers), int(num_answers))
