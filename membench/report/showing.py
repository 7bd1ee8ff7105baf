"""Parts made from what a report has: a table or figure that the runs at hand do not have is left out."""

from membench.report.contents import Contents
from membench.report.parts import Paragraph, Part, ShownFigure, ShownTable
from membench.report.text import one_line


def paragraph(text: str) -> Paragraph:
    """Return sentences that the code has in several lines."""
    return Paragraph(one_line(text))


def shown_table(contents: Contents, name: str, caption: str, *, is_long: bool = False) -> list[Part]:
    """Return the table of this name under its caption; see `ShownTable`."""
    table = contents.tables.get(name)
    if table is None or table.shown.empty:
        return []
    return [ShownTable(name, one_line(caption), table, is_long)]


def shown_figure(
    contents: Contents, name: str, alternative: str, caption: str, *, is_narrow: bool = False
) -> list[Part]:
    """Return the figure of this name above its caption; see `ShownFigure`."""
    svg = contents.figures.get(name)
    return [] if svg is None else [ShownFigure(name, alternative, one_line(caption), svg, is_narrow)]
