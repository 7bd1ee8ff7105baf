"""`report.md`: the tables and plots of a results folder on one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from membench.records import RunRecord
from membench.report import text
from membench.report.tables import Table

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"escape": text.escape_markdown, "line": text.one_line, "markdown": text.to_markdown}


@dataclass(frozen=True)
class ReportHeading:
    """What a report is about."""

    suite: str
    profile: str
    question: str
    """What the suite answers, in one sentence."""
    command: str
    """What made the runs, as typed."""
    seeds: list[int]
    """Those planned."""


def page(
    heading: ReportHeading,
    records: list[RunRecord],
    tables: Mapping[str, Table],
    *,
    missing: list[str],
    complaints: list[str],
) -> str:
    """Return the text of `report.md`.

    Args:
        heading: what it is about.
        records: the runs.
        tables: by name, `headline` and `lost` (runs that diverged or failed) among them.
        missing: labels of planned runs without a record.
        complaints: a sentence per file that is no record.
    """
    return TEMPLATES.get_template("report.md.j2").render(
        heading=heading,
        records=records,
        tables=tables,
        missing=missing,
        complaints=complaints,
        num_repeated=_num_repeated(records),
        gap=_recall_gap(records),
        solved=solved_and_examined(records),
        seeds_per_cell=len({record.seed for record in records}),
        machines=_distinct([record.machine for record in records], ("processor", "cores", "system")),
        versions=_distinct([record.versions for record in records], ("membench", "python", "torch", "numpy")),
    )


def _num_repeated(records: list[RunRecord]) -> int:
    """Return how many runs differ from another in nothing that a table shows."""
    shown = {
        (record.architecture, record.config.task, record.config.objective, record.seed) for record in records
    }
    return len(records) - len(shown)


class SolvedRuns(NamedTuple):
    """How runs called solved did on fresh episodes after training."""

    runs: int
    greedy_below: int
    """Those whose greedy policy fell below what counts as solved."""
    sampled_below: int
    """Those whose sampled policy did."""


def solved_and_examined(records: list[RunRecord]) -> SolvedRuns:
    """Return how many runs were called solved, and how many of them did not hold up."""
    solved = [record for record in records if record.status == "solved"]

    def below(success: float | None, record: RunRecord) -> bool:
        return success is not None and success < record.config.evaluation.solved_at

    return SolvedRuns(
        runs=len(solved),
        greedy_below=sum(below(record.success, record) for record in solved),
        sampled_below=sum(below(record.sampled_success, record) for record in solved),
    )


def _recall_gap(records: list[RunRecord]) -> str:
    """Return what the recall gap is beyond the horizon, in words."""
    beyond = sorted({record.recall_gap - record.horizon for record in records})
    return " or ".join(
        f"{abs(steps)} step{'s' * (abs(steps) != 1)} {'less' if steps < 0 else 'more'}" for steps in beyond
    )


def _distinct(facts: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> list[str]:
    return sorted({", ".join(f"{name} {one[name]}" for name in names if name in one) for one in facts} - {""})
