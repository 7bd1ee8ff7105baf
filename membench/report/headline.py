"""The result at a glance, in one table that fits a terminal."""

import pandas as pd

from membench.report import text
from membench.report.frame import (
    CELL_COLUMNS,
    budget_names,
    cell_names,
    differ_by_horizon_only,
    is_ladder,
    num_solved,
    tidy,
    unequal_budgets,
    varies_in_what_is_shown,
    varying_settings,
)
from membench.report.frontier import frontier_table
from membench.report.looks import display_name
from membench.report.sizes import shown_sizes, size_columns, sizes
from membench.report.tables import Table

COST = [*size_columns("parameters"), "steps_per_second"]


def headline_caption(frame: pd.DataFrame) -> str:
    """Return what the cells of `headline_table` say."""
    if is_ladder(frame):
        return "Longest horizon solved, median over seeds"
    if varies_in_what_is_shown(frame):
        return "Bits recalled of bits shown, over all tasks: of each the mean over its runs"
    return "Mean success (runs solved / runs)"


def headline_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the result at a glance, as text: a row per architecture, a column per cell, and the cost.

    Of ladders, it is the frontier; of tasks that differ in what they show, the bits recalled.

    Args:
        frame: of `membench.frame.to_frame`; may be empty.
    """
    return headline(tidy(frame)).shown


def headline(frame: pd.DataFrame) -> Table:
    """Return `headline_table` of a tidy frame, with its unrounded values."""
    if is_ladder(frame):
        frontiers = frontier_table(frame)
        return frontiers._replace(shown=frontiers.shown.drop(columns=["Seconds to it", "Success there"]))
    if varies_in_what_is_shown(frame):
        return _capacity_headline(frame)
    return _success_headline(frame)


def _success_headline(frame: pd.DataFrame) -> Table:
    names, by_horizon = cell_names(frame), differ_by_horizon_only(frame)
    headings = {name: f"Horizon {name}" if by_horizon else name for name in names}
    rows = []
    for architecture, runs in frame.groupby("architecture", sort=False):
        row = {"architecture": architecture}
        for name, heading in headings.items():
            here = runs.loc[runs.cell == name]
            row[heading] = here.counted_success.mean()
            row |= {f"{heading}: solved": num_solved(here), f"{heading}: runs": len(here)}
        row |= sizes(runs, "parameters")
        row["steps_per_second"] = runs.steps_per_second[runs.cell == names[-1]].median()
        rows.append(row)
    values = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["architecture", *COST])
    shown = {"Memory": values.architecture.map(display_name)}
    for heading in headings.values():
        cell = [values[name] for name in (heading, f"{heading}: solved", f"{heading}: runs")]
        shown[heading] = pd.Series([_success(*one) for one in zip(*cell, strict=True)])
    last = f"{' at' if by_horizon else ','} {names[-1]}" if names else ""
    shown["Parameters"] = shown_sizes(values, "parameters")
    shown[f"Steps/s{last}"] = values.steps_per_second.map(text.rounded)
    return Table(values, pd.DataFrame(shown))


def _success(mean: float, num_solved: int, num_runs: int) -> str:
    return f"{text.share(mean)} ({num_solved}/{num_runs})" if num_runs else text.NOTHING


def _capacity_headline(frame: pd.DataFrame) -> Table:
    rows, budgets = [], unequal_budgets(frame)
    settings = [name for name in varying_settings(frame) if name not in budgets]
    for _, runs in frame.groupby(["architecture", *budgets], sort=False, dropna=False):
        at_usual_size = runs.loc[runs[settings].isna().all(axis=1)]
        runs = at_usual_size if len(at_usual_size) else runs
        by_task = runs.groupby(list(CELL_COLUMNS), dropna=False).agg({"bits": "mean", "bits_shown": "mean"})
        row = runs[["architecture", *budgets]].iloc[0].to_dict()
        row |= {"solved": num_solved(runs), "runs": len(runs)}
        row |= by_task.sum().to_dict() | sizes(runs, "parameters")
        rows.append(row | {"steps_per_second": runs.steps_per_second.median()})
    values = pd.DataFrame(rows)
    bits = zip(values.bits.map(text.tenths), values.bits_shown.map(text.tenths), strict=True)
    shown = {"Memory": values.architecture.map(display_name)}
    shown |= {"Budget": budget_names(values)} if budgets else {}
    shown |= {
        "Bits recalled": [f"{recalled} of {shown}" for recalled, shown in bits],
        "Solved": [f"{solved}/{runs}" for solved, runs in zip(values.solved, values.runs, strict=True)],
        "Parameters": shown_sizes(values, "parameters"),
        "Steps/s": values.steps_per_second.map(text.rounded),
    }
    return Table(values, pd.DataFrame(shown))
