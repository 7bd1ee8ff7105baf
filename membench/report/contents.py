"""What a report is made from: the runs, their tables and figures, and the facts that its pages state."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from membench.frame import told_settings
from membench.provenance import code_origins, machine_origins, mixtures, numbered
from membench.records import RunRecord
from membench.report.answer import answer
from membench.report.tables import Table


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

    @property
    def about(self) -> str:
        """What stands above the question."""
        return f"{self.suite}, {self.profile} profile"


@dataclass(frozen=True)
class Contents:
    """All that the pages of a report show."""

    heading: ReportHeading
    records: list[RunRecord]
    frame: pd.DataFrame
    """Tidy."""
    tables: Mapping[str, Table]
    figures: Mapping[str, bytes]
    """By name, as SVG."""
    missing: list[str]
    """Labels of planned runs without a record."""
    complaints: list[str]
    """A sentence per file that is no record."""

    @property
    def answer(self) -> list[str]:
        """The answer in words, as sentences of plain text, with what it mixes."""
        return [*answer(self.frame, num_missing=len(self.missing)), *mixtures(self.records)]

    @property
    def num_repeated(self) -> int:
        """How many runs differ from another in nothing that a table shows."""
        shown = {
            (
                *(record.architecture, record.config.task, record.config.objective, record.seed),
                *told_settings(record.config).items(),
            )
            for record in self.records
        }
        return len(self.records) - len(shown)

    @property
    def recall_gap(self) -> str:
        """What the recall gap is beyond the horizon, of ladders their frontier, in words."""
        beyond = sorted({record.recall_gap - (record.frontier or record.horizon) for record in self.records})
        return " or ".join(
            f"{abs(steps)} step{'s' * (abs(steps) != 1)} {'less' if steps < 0 else 'more'}"
            for steps in beyond
        )

    @property
    def machines(self) -> list[str]:
        """What the runs were timed on; several with the number that tables have, and how many runs."""
        return _origins(machine_origins(self.records), self.records)

    @property
    def versions(self) -> list[str]:
        """What the runs were computed with; several with the number that tables have, and how many runs."""
        return _origins(code_origins(self.records), self.records)


def _origins(origins: list[str], records: list[RunRecord]) -> list[str]:
    numbers = numbered(origins, records)
    if len(numbers) < 2:
        return list(numbers)
    return [f"{number}, {origins.count(origin)} runs: {origin}" for origin, number in numbers.items()]
