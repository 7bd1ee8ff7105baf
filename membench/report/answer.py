"""The answer in words: a frame of runs -> sentences that say no more than its runs do."""

from collections.abc import Collection
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd

from membench.report import text
from membench.report.frame import (
    cell_heading,
    cell_names,
    differ_by_horizon_only,
    is_below_mark,
    is_ladder,
    num_solved,
)
from membench.report.frontier import frontier_table
from membench.report.generalisation import success_at
from membench.report.looks import display_name

MOST_CELLS = 6
"""Cells with a sentence each; of more, one sentence counts those that every memory solves."""

MOST_NAMES = 8
"""Memories named one after another; of more, those that are not named are counted."""

BELOW_MARK = "had fallen below the mark again by the end"
"""What is said of runs that were called solved, and were not when they ended."""


class Tally(NamedTuple):
    """How many runs of a memory in a cell are solved."""

    solved: int
    runs: int
    noun: str
    """What a run is called; see `_noun`."""
    below: tuple[float, ...]
    """Final success of those that were solved and below their mark at the end, the lowest first."""

    @property
    def rank(self) -> tuple[float, int, int]:
        """Sorts the largest share first; of equal ones, that of most runs, and of fewest below the mark."""
        return -self.solved / self.runs, -self.runs, len(self.below)

    def __str__(self) -> str:
        return self._how_many_solved() + self._how_many_below()

    def _how_many_solved(self) -> str:
        if self.runs == 1:
            return f"in the 1 {self.noun} tried" if self.solved else f"not in the 1 {self.noun} tried"
        if self.solved == self.runs:
            return f"in {_all_of(self.runs, self.noun)}"
        return f"in {self.solved or 'none'} of {self.runs} {self.noun}s"

    def _how_many_below(self) -> str:
        if not self.below:
            return ""
        which = "which" if self.runs == 1 else f"{len(self.below)} of which"
        return f", {which} {BELOW_MARK} ({_shares(self.below)})"


def answer(frame: pd.DataFrame, *, num_missing: int = 0) -> list[str]:
    """Return what the runs say, as sentences of plain text.

    Args:
        frame: tidy; may be empty.
        num_missing: planned runs without a record.
    """
    if frame.empty:
        found = ["There is no record of any run here, so there is nothing to show yet."]
    elif is_ladder(frame):
        found = [_climbs(frame)]
    elif len(names := cell_names(frame)) <= MOST_CELLS:
        found = [sentence for name in names for sentence in _beyond(frame, name)]
        found += _in_cells(frame, names)
    else:
        found = [_over_cells(frame), *_below_mark(frame)]
    return [*found, *_lost(frame), *_missing(len(frame), num_missing)]


def _beyond(frame: pd.DataFrame, name: str) -> list[str]:
    """Return how memories did at the longest horizon that one cell's runs were tested at and not trained."""
    here = frame.loc[frame.cell == name]
    longest = max((horizon for found in here.success_at for horizon in found), default=0)
    if longest <= here.first_horizon.iloc[0]:
        return []
    means = {
        display_name(str(architecture)): float(np.mean(success))
        for architecture, runs in here.groupby("architecture", sort=False)
        if (success := dict(success_at(runs)).get(longest))
    }
    groups: dict[str, list[str]] = {}
    for memory in sorted(means, key=lambda memory: -means[memory]):
        groups.setdefault(text.share(means[memory]), []).append(memory)
    told = list(groups.items())
    clauses = [f"{mean} for {_names(group, len(means))}" for mean, group in told[:MOST_NAMES]]
    if rest := told[MOST_NAMES:]:
        num_others = sum(len(group) for _, group in rest)
        clauses.append(f"{rest[0][0]} or less for the other {num_others} memories")
    where = f"Trained at horizon {name}" if differ_by_horizon_only(frame) else _where(frame, name)
    what = f"mean success at horizon {text.count(longest)}, without training there, is"
    return [f"{where}, {what} {'; '.join(clauses)}."]


def _in_cells(frame: pd.DataFrame, names: list[str]) -> list[str]:
    """Return what memories do cell by cell; neighbours of which the same is to be said share a sentence."""
    alike = groupby(names, key=lambda name: _in_cell(frame, name))
    return [f"{_where(frame, *together)}, {said}." for said, together in alike]


def _in_cell(frame: pd.DataFrame, name: str) -> str:
    """Return which memories solve one cell in every seed, which in some and which in none."""
    groups: dict[Tally, list[str]] = {}
    by_memory = list(frame.loc[frame.cell == name].groupby("architecture", sort=False))
    for architecture, runs in by_memory:
        below = tuple(sorted(runs.success[is_below_mark(runs)]))
        tally = Tally(num_solved(runs), len(runs), _noun(runs), below)
        groups.setdefault(tally, []).append(display_name(str(architecture)))
    first, *others = sorted(groups, key=lambda tally: tally.rank)
    names = {tally: _names(group, len(by_memory)) for tally, group in groups.items()}
    clauses = [
        f"{names[first]} {_solves(first, len(groups[first]))}",
        *(f"{names[tally]} {tally}" for tally in others),
    ]
    return "; ".join(clauses)


def _where(frame: pd.DataFrame, *names: str) -> str:
    """Return in which cells something is so: in one, or in each of several."""
    heading = cell_heading(frame)
    listed = text.listed(names if heading == "Horizon" else [f"“{name}”" for name in names])
    one, each_of = {
        "Horizon": ("At horizon", "At each of the horizons"),
        "Task": ("On the task", "On each of the tasks"),
        "Setting": ("With", "With each of"),
    }[heading]
    return f"{one if len(names) == 1 else each_of} {listed}"


def _solves(tally: Tally, num_memories: int) -> str:
    """Return a tally of so many memories behind its verb."""
    is_one, found = num_memories == 1, str(tally)
    if found.startswith("not "):
        return f"{'does' if is_one else 'do'} not solve it {found.removeprefix('not ')}"
    return f"{'solves' if is_one else 'solve'} it {found}"


def _names(group: list[str], num_memories: int) -> str:
    if len(group) <= MOST_NAMES:
        return text.listed(group)
    return f"{'all' if len(group) == num_memories else len(group)} of the {num_memories} memories"


def _over_cells(frame: pd.DataFrame) -> str:
    """Return how many cells each memory solves in every seed, those first that solve most."""
    kind = cell_heading(frame).lower()
    noun = _noun(frame, "architecture", "cell")
    counts = []
    for architecture, runs in frame.groupby("architecture", sort=False):
        is_solved = (runs.status == "solved").groupby(runs.cell).all()
        counts.append((display_name(str(architecture)), int(is_solved.sum()), len(is_solved)))
    counts.sort(key=lambda count: -count[1])
    clauses = [f"{name} {solved} of {num_cells}" for name, solved, num_cells in counts[:MOST_NAMES]]
    if rest := counts[MOST_NAMES:]:
        clauses.append(f"each of the other {len(rest)} memories {rest[0][1]} or fewer")
    runs_per_cell = frame.groupby(["architecture", "cell"]).size().tolist()
    seeds = _from_to(min(runs_per_cell), max(runs_per_cell), noun)
    return f"{kind.capitalize()}s solved in every {noun} ({seeds} per {kind}): {'; '.join(clauses)}."


def _below_mark(frame: pd.DataFrame) -> list[str]:
    """Return how many solved runs of each memory were below their mark at the end, if any were."""
    below = frame.loc[is_below_mark(frame)]
    if below.empty:
        return []
    counts = [
        f"{display_name(str(architecture))} {len(runs)} ({_shares(runs.success)})"
        for architecture, runs in below.groupby("architecture", sort=False)
    ]
    called = _number(num_solved(frame), "run")
    return [f"Of {called} called solved, {len(below)} {BELOW_MARK}: {text.listed(counts)}."]


def _shares(success: Collection[float]) -> str:
    """Return from where to where some shares reach."""
    low, high = text.share(min(success)), text.share(max(success))
    return low if low == high else f"{low} to {high}"


def _climbs(frame: pd.DataFrame) -> str:
    """Return how far each memory climbed, those first that climbed furthest."""
    medians = frontier_table(frame).values.set_index("architecture").median_frontier
    medians = medians.sort_values(ascending=False, kind="stable")
    clauses = [
        f"{display_name(str(name))} {_horizon(median)} ({_spread(frame.loc[frame.architecture == name])})"
        for name, median in medians[:MOST_NAMES].items()
    ]
    if len(rest := medians[MOST_NAMES:]):
        clauses.append(f"the medians of the other {len(rest)} memories are {_horizon(rest.max())} or less")
    return f"The longest horizon solved by climbing: {'; '.join(clauses)}.{_where_budgets_end(frame)}"


def _where_budgets_end(frame: pd.DataFrame) -> str:
    """Return that some ladders went as far as their budget had room for, if any did."""
    are_at_the_end = frame.frontier >= frame.highest_rung
    if not are_at_the_end.any():
        return ""
    ends = text.listed([_horizon(rung) for rung in sorted(set(frame.highest_rung[are_at_the_end]))])
    return f" {are_at_the_end.sum()} of {len(frame)} got as far as the budget has room for ({ends})."


def _spread(runs: pd.DataFrame) -> str:
    """Return of how many ladders a median is, and from where to where they reach."""
    frontiers, noun = runs.frontier.fillna(0), _noun(runs)
    low, high = _horizon(frontiers.min()), _horizon(frontiers.max())
    if low == high:
        return f"1 {noun}" if len(runs) == 1 else _all_of(len(runs), noun)
    median = "median" if len(runs) % 2 else "lower median"
    return f"{median} of {len(runs)} {noun}s, {low} to {high}"


def _horizon(frontier: float) -> str:
    return text.count(frontier) if frontier else "none"


def _lost(frame: pd.DataFrame) -> list[str]:
    """Return how many runs diverged or failed, if any did."""
    counts = {status: int((frame.status == status).sum()) for status in ("diverged", "failed")}
    lost = " and ".join(f"{count} {status}" for status, count in counts.items() if count)
    if not lost:
        return []
    reached = "with the horizons that they had solved" if is_ladder(frame) else "as not solved"
    return [f"Of {_number(len(frame), 'run')}, {lost}: counted {reached}."]


def _missing(num_runs: int, num_missing: int) -> list[str]:
    if not num_missing:
        return []
    planned = _number(num_runs + num_missing, "planned run")
    return [f"Of {planned}, {num_missing} {'has' if num_missing == 1 else 'have'} no record: not counted."]


def _noun(runs: pd.DataFrame, *within: str) -> str:
    """Return `seed` where each run has its own among those that share the columns `within`, else `run`."""
    return "run" if runs.duplicated([*within, "seed"]).any() else "seed"


def _all_of(number: int, noun: str) -> str:
    return f"both {noun}s" if number == 2 else f"all {number} {noun}s"


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _from_to(low: int, high: int, noun: str) -> str:
    return _number(high, noun) if low == high else f"{low} to {high} {noun}s"
