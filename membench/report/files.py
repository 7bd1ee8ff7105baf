"""The files of a report: texts, tables and figures, each written whole or not at all."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from membench.folders import atomic_writer
from membench.report import text
from membench.report.panels import STYLE
from membench.report.tables import Table

FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet takes for a formula."""


def write_text(path: Path, content: str) -> Path:
    """Write a text, in a folder that is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path) as file:
        file.write(content.encode())
    return path


def write_table(folder: Path, name: str, table: Table) -> list[Path]:
    """Write a table as CSV, for programs, as Markdown, for people, and as LaTeX, for papers.

    What a spreadsheet would take for a formula has a quotation mark before it, as spreadsheets write it.
    """
    csv = table.values.map(_as_text).rename(columns=_as_text).to_csv(index=False, lineterminator="\n")
    markdown = text.to_markdown(table.shown) + "\n"
    contents = {"csv": csv, "md": markdown, "tex": text.to_latex(table.shown) + "\n"}
    return [write_text(folder / f"{name}.{kind}", content) for kind, content in contents.items()]


def _as_text(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_MARKS) else value


@contextmanager
def style() -> Iterator[None]:
    """Draw and write figures in here, so that all of them look alike."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # A name may hold letters that the font lacks; they are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def write_figure(folder: Path, name: str, figure: Figure) -> list[Path]:
    """Write a figure as PNG and as SVG; the same figure gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        with atomic_writer(path) as file:
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(file, format=path.suffix[1:], metadata=metadata)
    return paths
