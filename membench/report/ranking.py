"""Rankings: the tables of memories, and of pairs of them, over all cells of a suite."""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from membench import stats
from membench.report import text
from membench.report.frame import cell_names, num_solved, success_by_seed
from membench.report.looks import display_name
from membench.report.tables import Table
from membench.stats import Interval, Strata

THRESHOLDS = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Success above which a profile counts runs."""


def in_the_same_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of those memories of a tidy frame that can be ranked: most that ran in the same cells.

    Of as many memories, those that ran in more cells.
    """
    found: dict[frozenset[str], list[str]] = {}
    for name, runs in frame.groupby("architecture", sort=False):
        found.setdefault(frozenset(runs.cell), []).append(str(name))
    _, names = max(found.items(), key=lambda group: (len(group[1]), len(group[0])))
    return frame.loc[frame.architecture.isin(names)]


def has_ranking(frame: pd.DataFrame) -> bool:
    """Return whether a tidy frame has memories to rank: several ran in the same cells, and solved some."""
    if frame.empty:
        return False
    frame = in_the_same_cells(frame)
    return len(set(frame.architecture)) > 1 and num_solved(frame) > 0


def ranking_table(frame: pd.DataFrame) -> Table:
    """Return success over all cells by architecture, best first: ranked by the interquartile mean.

    Runs are pooled, the interval is of the interquartile mean, seeds resampled over all cells at once. Ranks
    mean something of `in_the_same_cells` alone.
    """
    rows, intervals = [], {}
    for name, runs in frame.groupby("architecture", sort=False):
        success = strata(runs)
        found = stats.interval_over_seeds(success, stats.pooled_interquartile_mean)
        intervals[name] = interval_or_why_not(found, success)
        rows.append(
            {
                "architecture": name,
                "cells": len(success),
                "seeds": _fewest_to_most(success),
                "runs": len(runs),
                "solved": num_solved(runs),
                "mean": runs.counted_success.mean(),
                "median": runs.counted_success.median(),
                "interquartile_mean": stats.interquartile_mean(runs.counted_success.tolist()),
                "interval_low": found.low if found else math.nan,
                "interval_high": found.high if found else math.nan,
            }
        )
    measured = ["mean", "median", "interquartile_mean", "interval_low", "interval_high"]
    columns = ["architecture", "cells", "seeds", "runs", "solved", *measured]
    values = pd.DataFrame(rows, columns=columns)
    values.insert(0, "rank", values.interquartile_mean.rank(method="min", ascending=False).astype("Int64"))
    values = values.sort_values("rank", kind="stable", ignore_index=True)
    shown = {
        "Rank": values["rank"].map(str),
        "Memory": values.architecture.map(display_name),
        "Cells": values.cells.map(str),
        "Seeds per cell": values.seeds,
        "Solved": [f"{solved}/{runs}" for solved, runs in zip(values.solved, values.runs, strict=True)],
        "Mean success": values["mean"].map(text.share),
        "Median": values["median"].map(text.share),
        "Interquartile mean": values.interquartile_mean.map(text.share),
        "Its 95 % interval": values.architecture.map(intervals),
    }
    return Table(values, pd.DataFrame(shown, dtype=str))


def profiles_table(frame: pd.DataFrame) -> Table:
    """Return the performance profile of each architecture: the share of its runs above each success."""
    rows, above = [], [f"> {threshold:g}" for threshold in THRESHOLDS]
    for name, runs in frame.groupby("architecture", sort=False):
        success = strata(runs)
        shares = stats.performance_profile(success, THRESHOLDS)
        row = {"architecture": name, "seeds": _fewest_to_most(success)}
        rows.append(row | dict(zip(above, shares, strict=True)))
    values = pd.DataFrame(rows, columns=["architecture", "seeds", *above])
    shown = {"Memory": values.architecture.map(display_name), "Seeds per cell": values.seeds}
    return Table(values, pd.DataFrame(shown | {mark: values[mark].map(text.share) for mark in above}))


def improvement_table(frame: pd.DataFrame) -> Table:
    """Return, for each pair of architectures, how probably a run of the first beats one of the second.

    Over the cells that both ran in. The difference pairs seeds, for a seed draws the same episodes for every
    memory; a seed that one of them lacks is left out of it.
    """
    by_memory = {
        name: _Successes(by_cell(runs), by_seed(runs))
        for name, runs in frame.groupby("architecture", sort=False)
    }
    rows, shown = [], []
    for ours, theirs in combinations(by_memory, 2):
        row, of_probability, of_difference = _improvement(by_memory[ours], by_memory[theirs])
        rows.append({"architecture": ours, "other": theirs} | row)
        shown.append(
            {
                "Memory": display_name(str(ours)),
                "Other": display_name(str(theirs)),
                "Cells": str(row["cells"]),
                "Seeds per cell": row["seeds"],
                "Probability of beating it": text.share(row["probability"]),
                "95 % interval": of_probability,
                "Paired difference": text.signed(row["difference"]),
                "95 % interval of the difference": of_difference,
            }
        )
    columns = [
        "architecture",
        "other",
        "cells",
        "seeds",
        "probability",
        "probability_low",
        "probability_high",
    ]
    differences = ["pairs", "difference", "difference_low", "difference_high"]
    headings = ["Memory", "Other", "Cells", "Seeds per cell", "Probability of beating it", "95 % interval"]
    headings += ["Paired difference", "95 % interval of the difference"]
    values = pd.DataFrame(rows, columns=[*columns, *differences])
    return Table(values, pd.DataFrame(shown, columns=headings, dtype=str))


class _Successes(NamedTuple):
    """The success of one memory's runs."""

    by_cell: dict[str, list[float]]
    by_seed: dict[int, dict[int, float]]


def _improvement(ours: _Successes, theirs: _Successes) -> tuple[dict, str, str]:
    """Return a pair's numbers, and the intervals of the probability and of the difference for people."""
    shared = [cell for cell in ours.by_cell if cell in theirs.by_cell]
    left, right = ([side.by_cell[cell] for cell in shared] for side in (ours, theirs))
    paired = _paired(ours.by_seed, theirs.by_seed)
    probability = stats.improvement_interval(left, right)
    difference = stats.interval_over_seeds(paired, stats.mean_over_strata)
    row = {
        "cells": len(shared),
        "seeds": _fewest_to_most([*left, *right]),
        "probability": stats.probability_of_improvement(left, right) if shared else math.nan,
        "probability_low": probability.low if probability else math.nan,
        "probability_high": probability.high if probability else math.nan,
        "pairs": sum(map(len, paired)),
        "difference": float(stats.mean_over_strata(*map(np.asarray, paired))) if paired else math.nan,
        "difference_low": difference.low if difference else math.nan,
        "difference_high": difference.high if difference else math.nan,
    }
    if not shared:
        return row, "no cell in common", "no cell in common"
    return row, interval_or_why_not(probability, [*left, *right]), interval_or_why_not(difference, paired)


def strata(runs: pd.DataFrame) -> Strata:
    """Return success in each cell, seed by seed, cells in order."""
    return list(by_cell(runs).values())


def by_cell(runs: pd.DataFrame) -> dict[str, list[float]]:
    """Return success in each cell, seed by seed, cells in order, by the cell's name."""
    return {name: success_by_seed(runs.loc[runs.cell == name]) for name in cell_names(runs)}


def by_seed(runs: pd.DataFrame) -> dict[int, dict[int, float]]:
    """Return success by the cell's place and by seed, both in order; repeated seeds by their mean."""
    found: dict[int, dict[int, float]] = {}
    for (place, seed), success in runs.groupby(["cell_place", "seed"]).counted_success.mean().items():
        found.setdefault(place, {})[seed] = success
    return found


def paired_differences(ours: pd.DataFrame, theirs: pd.DataFrame) -> Strata:
    """Return the differences between runs of one seed, cell by cell that both have.

    Repeated seeds count by their mean.
    """
    return _paired(by_seed(ours), by_seed(theirs))


def _paired(ours: dict[int, dict[int, float]], theirs: dict[int, dict[int, float]]) -> Strata:
    differences = [
        [success - theirs[place][seed] for seed, success in cell.items() if seed in theirs[place]]
        for place, cell in ours.items()
        if place in theirs
    ]
    return [cell for cell in differences if cell]


def _fewest_to_most(values: Strata) -> str:
    numbers = sorted({len(stratum) for stratum in values})
    return "–".join(map(str, dict.fromkeys([numbers[0], numbers[-1]]))) if numbers else "0"


def interval_or_why_not(found: Interval | None, values: Strata) -> str:
    """Return the interval of a statistic of strata, or why it has none, for people."""
    return text.interval(found) if found else stats.why_no_interval(values)
