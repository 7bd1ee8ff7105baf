"""The parts that a report's pages are put together from; text in them is Markdown, with names escaped."""

import re
from dataclasses import dataclass
from typing import ClassVar

from membench.report.tables import Table


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    kind: ClassVar = "paragraph"
    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    kind: ClassVar = "items"
    items: list[str]


@dataclass(frozen=True)
class Command:
    """A line as it was typed; not Markdown."""

    kind: ClassVar = "command"
    line: str


@dataclass(frozen=True)
class ShownTable:
    """A table of the report, under what it says."""

    kind: ClassVar = "table"
    name: str
    """Of its files in `tables/`."""
    caption: str
    table: Table
    is_long: bool
    """Whether `report.html` folds it up and `report.md` names its file alone."""


@dataclass(frozen=True)
class ShownFigure:
    """A figure of the report, above how to read it."""

    kind: ClassVar = "figure"
    name: str
    """Of its files in `plots/`."""
    alternative: str
    """Plain text: what is to be seen, for those who do not see it."""
    caption: str
    svg: bytes
    is_narrow: bool = False
    """Whether it is drawn for one of two columns."""


Part = Paragraph | Items | Command | ShownTable | ShownFigure


@dataclass(frozen=True)
class Section:
    """Parts under a heading."""

    title: str
    parts: list[Part]

    @property
    def anchor(self) -> str:
        """What a link to it says, as in `what-it-costs`."""
        return "-".join(re.findall(r"\w+", self.title.lower()))
