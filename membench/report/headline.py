"""The result at a glance, in one table that fits a terminal."""

import pandas as pd

from membench.report import text
from membench.report.frame import (
    cell_names,
    differ_by_horizon_only,
    is_ladder,
    num_solved,
    tidy,
    varies_in_what_is_shown,
    varying_settings,
)
from membench.report.frontier import frontier_table
from membench.report.looks import display_name


def headline_caption(frame: pd.DataFrame) -> str:
    """Return what the cells of `headline_table` say."""
    if is_ladder(frame):
        return "Longest horizon solved, median over seeds"
    if varies_in_what_is_shown(frame):
        return "Bits recalled of bits shown, over all tasks"
    return "Mean success (runs solved / runs)"


def headline_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the result at a glance, as text: a row per architecture, a column per cell, and the cost.

    Of ladders, it is the frontier; of tasks that differ in what they show, the bits recalled.

    Args:
        frame: of `records.to_frame`; may be empty.
    """
    frame = tidy(frame)
    if is_ladder(frame):
        return frontier_table(frame).shown.drop(columns=["Seconds to it", "Success there"])
    if varies_in_what_is_shown(frame):
        return _capacity_headline(frame)
    names = cell_names(frame)
    prefix = "Horizon " if differ_by_horizon_only(frame) else ""
    rows = []
    for architecture, runs in frame.groupby("architecture", sort=False):
        row = {"Memory": display_name(str(architecture))}
        for name in names:
            here = runs.loc[runs.cell == name]
            found = f"{text.share(here.counted_success.mean())} ({num_solved(here)}/{len(here)})"
            row[f"{prefix}{name}"] = found if len(here) else text.NOTHING
        row["Parameters"] = text.count(runs.parameters.median())
        speed = runs.steps_per_second[runs.cell == names[-1]].median()
        row[f"Steps/s at {names[-1]}" if prefix else f"Steps/s, {names[-1]}"] = text.rounded(speed)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["Memory", "Parameters", "Steps/s"])


def _capacity_headline(frame: pd.DataFrame) -> pd.DataFrame:
    rows, sizes = [], varying_settings(frame)
    for architecture, runs in frame.groupby("architecture", sort=False):
        at_usual_size = runs.loc[runs[sizes].isna().all(axis=1)]
        runs = at_usual_size if len(at_usual_size) else runs  # so that every task counts once
        by_cell = runs.groupby("cell").agg({"bits": "mean", "bits_shown": "mean"})
        recalled, shown = by_cell.bits.sum(), by_cell.bits_shown.sum()
        rows.append(
            {
                "Memory": display_name(str(architecture)),
                "Bits recalled": f"{text.tenths(recalled)} of {text.tenths(shown)}",
                "Solved": f"{num_solved(runs)}/{len(runs)}",
                "Parameters": text.count(runs.parameters.median()),
                "Steps/s": text.rounded(runs.steps_per_second.median()),
            }
        )
    return pd.DataFrame(rows)
