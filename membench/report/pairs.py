"""Two memories side by side: all that records and measurements of cost say of them, beside the document.

Every number comes from a run or a measurement. What is known from a source alone is marked as stated, and
what was not measured says by which command it would be.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from membench import stats
from membench.plan import PlannedRuns
from membench.report import text
from membench.report.comparisons import document_words
from membench.report.costs import exponents_table, has_several_horizons, shown_exponent
from membench.report.facts import FACTS, SOURCE
from membench.report.frame import is_lost, median_time, solved_of, success_by_seed
from membench.report.looks import display_name
from membench.report.ranking import interval_or_why_not, strata
from membench.report.tables import Table
from membench.stats import Interval

HORIZONS, FRONTIER, DOCUMENT_SIZES = "horizons", "frontier", "horizons --preset doc"
"""The suites whose runs are compared, named as `membench.plan.runs_by_suite` does."""

BENCH = "membench bench"
REMEDY = "What would measure the rest"
INTERVAL, EXTREMES = "95 % interval", "least and most"
STATED, NOT_MEASURED, NOT_STATED = "stated", "not measured", "not stated"


class Found(NamedTuple):
    """What is known of one memory in one row."""

    told: str
    """For people."""
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    spread: str = ""
    """What `low` and `high` are."""
    basis: str = ""
    """What it rests on."""


@dataclass(frozen=True)
class Evidence:
    """All that two memories are compared by."""

    runs: Mapping[str, pd.DataFrame]
    """Suite -> the tidy frame of its runs."""
    planned: Mapping[str, PlannedRuns]
    """Suite -> the folder and the plan of its runs."""
    costs: pd.DataFrame | None
    """`membench.report.costs.to_frame`."""
    measurements: Path | None
    """The file that `costs` was read from."""

    def of(self, suite: str, name: str) -> pd.DataFrame | None:
        """Return the runs of a memory in a suite, None if there are none."""
        frame = self.runs.get(suite)
        chosen = None if frame is None else frame.loc[frame.architecture == name]
        return None if chosen is None or chosen.empty else chosen

    def longest(self, name: str, other: str) -> pd.DataFrame | None:
        """Return a memory's runs at the longest horizon that both have, or that it has if they share none."""
        runs, others = self.of(HORIZONS, name), self.of(HORIZONS, other)
        if runs is None:
            return None
        shared = set(runs.horizon) & set(others.horizon) if others is not None else set()
        return runs.loc[runs.horizon == max(shared or set(runs.horizon))]


Measure = Callable[[Evidence, str, str], Found | None]
"""(evidence, a memory, the one it is compared with) -> what was found; None where nothing was measured."""


def _ends(found: Interval | None) -> tuple[float, float, str]:
    return (found.low, found.high, INTERVAL) if found else (math.nan, math.nan, "")


def _seeds(suite: str, runs: pd.DataFrame) -> str:
    number = runs.seed.nunique()
    return f"{suite}, {number} seed{'s' * (number != 1)}"


def _long_sequences(evidence: Evidence, name: str, other: str) -> Found | None:
    runs = evidence.longest(name, other)
    if runs is None:
        return None
    success = success_by_seed(runs)
    found = stats.bootstrap_interval(success)
    enough = len(success) >= stats.MIN_SEEDS_FOR_INTERVAL
    spread = (
        interval_or_why_not(found, [success]) if enough else f"seeds: {' '.join(map(text.share, success))}"
    )
    mean = float(runs.counted_success.mean())
    told = f"{solved_of(runs)}, success {text.share(mean)} ({spread}) at horizon {runs.horizon.iloc[0]}"
    return Found(told, mean, *_ends(found), basis=_seeds(HORIZONS, runs))


def _frontier(evidence: Evidence, name: str, other: str) -> Found | None:
    runs = evidence.of(FRONTIER, name)
    if runs is None:
        return None
    reached = runs.frontier.fillna(0)
    median = float(reached.quantile(0.5, interpolation="lower"))
    told = f"horizon {text.count(median)} (seeds: {', '.join(map(text.count, reached))})"
    ends = float(reached.min()), float(reached.max()), EXTREMES
    return Found(told, median, *ends, basis=_seeds(FRONTIER, runs))


def _time_exponent(evidence: Evidence, name: str, other: str) -> Found | None:
    return _exponent(evidence, name, "time")


def _memory_exponent(evidence: Evidence, name: str, other: str) -> Found | None:
    return _exponent(evidence, name, "memory")


def _exponent(evidence: Evidence, name: str, what: str) -> Found | None:
    costs = evidence.costs
    measured = None if costs is None else costs.loc[costs.architecture == name]
    if measured is None or not has_several_horizons(measured):
        return None
    (row,) = exponents_table(measured).values.to_dict("records")
    exponent, low, high = (row[f"{what}_{part}"] for part in ("exponent", "low", "high"))
    if math.isnan(exponent):
        return None
    horizons = sorted(set(measured.horizon))
    basis = f"{evidence.measurements}: horizons {horizons[0]}–{horizons[-1]}"
    ends = None if math.isnan(low) else Interval(low, high)
    return Found(f"n^{shown_exponent(exponent, low, high)}", exponent, *_ends(ends), basis=basis)


def _speed(evidence: Evidence, name: str, other: str) -> Found | None:
    runs = evidence.longest(name, other)
    speeds = None if runs is None else runs.steps_per_second.dropna()
    if runs is None or speeds is None or speeds.empty:
        return None
    told = f"{text.rounded(speeds.median())} steps/s at horizon {runs.horizon.iloc[0]}"
    told += f" ({text.rounded(speeds.min())}–{text.rounded(speeds.max())})"
    ends = float(speeds.min()), float(speeds.max()), EXTREMES
    return Found(told, float(speeds.median()), *ends, basis=_seeds(HORIZONS, runs))


def _performance(evidence: Evidence, name: str, other: str) -> Found | None:
    runs, longest = evidence.of(HORIZONS, name), evidence.longest(name, other)
    if runs is None or longest is None:
        return None
    steps = text.time(median_time(longest, "solved", "steps"))
    mean = float(runs.groupby("cell").counted_success.mean().mean())
    horizons = text.listed([str(horizon) for horizon in sorted(set(runs.horizon))])
    told = f"{solved_of(runs)}, success {text.share(mean)} over horizons {horizons}"
    told += f"; median steps to solved at {longest.horizon.iloc[0]}: {steps}"
    return Found(told, mean, basis=_seeds(HORIZONS, runs))


def _beats(evidence: Evidence, name: str, other: str) -> Found | None:
    ours, theirs = evidence.of(HORIZONS, name), evidence.of(HORIZONS, other)
    if ours is None or theirs is None or not (shared := set(ours.cell) & set(theirs.cell)):
        return None
    left, right = (strata(side.loc[side.cell.isin(shared)]) for side in (ours, theirs))
    share, found = stats.probability_of_improvement(left, right), stats.improvement_interval(left, right)
    told = f"{text.share(share)} ({interval_or_why_not(found, [*left, *right])})"
    return Found(told, share, *_ends(found), basis=_seeds(HORIZONS, ours))


def _median(suite: str, column: str, shown: Callable[[float], str]) -> Measure:
    def measure(evidence: Evidence, name: str, other: str) -> Found | None:
        runs = evidence.longest(name, other) if suite == HORIZONS else evidence.of(suite, name)
        value = math.nan if runs is None else runs[[column]].median().to_dict()[column]
        if runs is None or math.isnan(value):
            return None
        return Found(shown(value), value, basis=_seeds(suite, runs))

    return measure


def _hardware(evidence: Evidence, name: str, other: str) -> Found | None:
    found = [runs for suite in evidence.runs if (runs := evidence.of(suite, name)) is not None]
    devices = sorted({device for runs in found for device in runs.device[~is_lost(runs)]})
    if not devices:
        return None
    return Found(f"ran on {', '.join(devices)}", basis=f"{sum(map(len, found))} runs of {display_name(name)}")


def _stated(fact: Literal["kind", "memory", "gates", "source"]) -> Measure:
    def state(evidence: Evidence, name: str, other: str) -> Found | None:
        if name not in FACTS:
            return None
        return Found(f"{getattr(FACTS[name], fact)} ({STATED})", basis=SOURCE.format(name))

    return state


class Row(NamedTuple):
    """One row of the comparison."""

    name: str
    measure: Measure
    measured_by: str | None
    """The suite whose runs it needs, or `BENCH`; None for what is stated."""
    in_document: tuple[str, ...] = ()
    """What the document's tables call it."""


ROWS = [
    Row("Architecture", _stated("kind"), None, ("Architecture",)),
    Row("Memory", _stated("memory"), None, ("Memory",)),
    Row("Gates", _stated("gates"), None, ("Gates",)),
    Row("Training time over horizon n", _time_exponent, BENCH, ("Complexity",)),
    Row("Training memory over horizon n", _memory_exponent, BENCH, ("Complexity",)),
    Row("Long sequences", _long_sequences, HORIZONS, ("Long sequences",)),
    Row("Longest horizon climbed to", _frontier, FRONTIER),
    Row("Performance", _performance, HORIZONS, ("Performance",)),
    Row("Probability of ending with more right answers (ties count half)", _beats, HORIZONS),
    Row("Training speed", _speed, HORIZONS, ("Training speed", "Speed")),
    Row(
        "Parameters, the document's sizes",
        _median(DOCUMENT_SIZES, "parameters", text.count),
        DOCUMENT_SIZES,
        ("Parameters",),
    ),
    Row("Parameters, as compared here", _median(HORIZONS, "parameters", text.count), HORIZONS),
    Row("State per environment", _median(HORIZONS, "state_bytes", text.size), HORIZONS),
    Row("Hardware", _hardware, HORIZONS, ("Hardware",)),
    Row("Maturity", _stated("source"), None, ("Maturity",)),
]


def pair_table(evidence: Evidence, names: tuple[str, str], folder: Path) -> Table:
    """Return the comparison of two memories.

    Its values are tidy, a row per feature and memory; for people there is a row per feature.

    Args:
        evidence: what they are compared by.
        names: the two memories.
        folder: the folder of results, which the commands that would measure the rest write to.
    """
    values, shown = [], []
    for row in ROWS:
        words = next((found for name in row.in_document if (found := document_words(*names, name))), None)
        found = {name: row.measure(evidence, *_own_first(names, name)) for name in names}
        bases = list(dict.fromkeys(one.basis for one in found.values() if one))
        lacking = [name for name, one in found.items() if one is None]
        remedy = _remedy(row, lacking, evidence, folder) if lacking else ""
        told_row = {"Feature": row.name}
        for name, word in zip(names, words or (text.NOTHING,) * 2, strict=True):
            one = found[name] or Found(NOT_MEASURED if row.measured_by else NOT_STATED)
            kind = (NOT_MEASURED if found[name] is None else "measured") if row.measured_by else STATED
            numbers = {"value": one.value, "low": one.low, "high": one.high, "spread": one.spread}
            values.append(
                {"feature": row.name, "architecture": name, "document": word, "kind": kind}
                | numbers
                | {"told": one.told, "basis": one.basis}
            )
            told_row |= {f"{display_name(name)}: the document": word, f"{display_name(name)}: here": one.told}
        shown.append(told_row | {"By": "; ".join(bases), REMEDY: remedy})
    return Table(pd.DataFrame(values), pd.DataFrame(shown))


def _own_first(names: tuple[str, str], name: str) -> tuple[str, str]:
    return names if names[0] == name else (names[1], names[0])


def _remedy(row: Row, lacking: list[str], evidence: Evidence, folder: Path) -> str:
    """Return what would fill the cells of a row that have nothing, as a command."""
    if row.measured_by is None:
        return f"no source known for {text.listed(lacking)}"
    if row.measured_by == BENCH:
        measured = [] if evidence.costs is None else evidence.costs.architecture.tolist()
        names = ",".join(dict.fromkeys([*measured, *lacking]))
        where = evidence.measurements.parent if evidence.measurements else folder / "bench"
        return f"{BENCH} --architectures {names}{' --refresh' * bool(measured)} --out {where}"
    if row.measured_by in evidence.planned:
        results, plan, _ = evidence.planned[row.measured_by]
        return plan.command_for(lacking, results)
    where = folder / {DOCUMENT_SIZES: "document-sizes"}.get(row.measured_by, row.measured_by)
    return f"membench run --suite {row.measured_by} --architectures {','.join(lacking)} --out {where}"
