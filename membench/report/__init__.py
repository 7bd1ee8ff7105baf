"""Reports: records -> tables, plots, `report.md` and `report.html` in a results folder; no PyTorch."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from membench.errors import InputError
from membench.frame import to_frame
from membench.records import RunRecord
from membench.report import tables
from membench.report.adaptation import adaptation_table, has_adaptation
from membench.report.capacity import capacity_table
from membench.report.comparisons import comparison_tables
from membench.report.contents import Contents, ReportHeading
from membench.report.figures import figures_for
from membench.report.files import style, write_figure, write_table, write_text
from membench.report.frame import is_below_mark, is_ladder, is_lost, tidy, varies_in_what_is_shown
from membench.report.frontier import frontier_table
from membench.report.generalisation import generalisation_table, has_other_horizons
from membench.report.gradient_flow import gradient_flow_table, has_gradient_flow
from membench.report.headline import headline, headline_caption, headline_table
from membench.report.impact import impact_setting, impact_table
from membench.report.origins import marked
from membench.report.page import html_page, markdown_page
from membench.report.pareto import has_prices, pareto_table
from membench.report.presets import has_presets, presets_table
from membench.report.ranking import (
    has_ranking,
    improvement_table,
    in_the_same_cells,
    profiles_table,
    ranking_table,
)
from membench.report.rungs import has_rungs, rungs_table
from membench.report.tables import Table
from membench.untrusted import refuse_links

__all__ = ["ReportFiles", "ReportHeading", "headline_caption", "headline_table", "write_report"]


@dataclass(frozen=True)
class ReportFiles:
    """Where the parts of a report lie."""

    report: Path
    """`report.md`."""
    page: Path
    """`report.html`, which needs none of the others."""
    tables: list[Path]
    plots: list[Path]


def write_report(
    results: Path,
    records: list[RunRecord],
    missing: list[str],
    complaints: list[str],
    heading: ReportHeading,
) -> ReportFiles:
    """Write the tables, plots and pages of a results folder; the same records give the same files.

    Args:
        results: the results folder.
        records: the runs, in any order; may be empty, and then there are no plots.
        missing: labels of planned runs without a record.
        complaints: a sentence per file that is no record.
        heading: what the report is about.

    Raises:
        InputError: if the folder cannot be written to, or a link in it leads out.
    """
    refuse_links(results)
    frame = tidy(to_frame(records))
    by_name = {name: marked(table, frame) for name, table in all_tables(frame).items()}
    try:
        table_files = [
            file for name, table in by_name.items() for file in write_table(results / "tables", name, table)
        ]
        plot_files = _write_plots(results, frame) if records else []
        figures = {file.stem: file.read_bytes() for file in plot_files if file.suffix == ".svg"}
        contents = Contents(heading, records, frame, by_name, figures, missing, complaints)
        report = write_text(results / "report.md", markdown_page(contents))
        page = write_text(results / "report.html", html_page(contents))
    except OSError as error:
        raise InputError(f"{str(results)!r}: cannot write the report there ({error.strerror})") from error
    return ReportFiles(report, page, table_files, plot_files)


def all_tables(frame: pd.DataFrame) -> dict[str, Table]:
    """Return the tables that suit a tidy frame, by name."""
    found = {
        "headline": headline(frame),
        "cost": tables.cost_table(frame),
        "runs": tables.runs_table(frame),
        "lost": tables.runs_table(frame.loc[is_lost(frame)]),
    }
    if is_ladder(frame):
        return found | {"frontier": frontier_table(frame)}
    if (below := is_below_mark(frame)).any():
        found["below_mark"] = tables.runs_table(frame.loc[below])
    if varies_in_what_is_shown(frame):
        found["capacity"] = capacity_table(frame)
    if setting := impact_setting(frame):
        found["impact"] = impact_table(frame, setting)
    if has_rungs(frame):
        found["rungs"] = rungs_table(frame)
    if has_gradient_flow(frame):
        found["gradient_flow"] = gradient_flow_table(frame)
    if has_other_horizons(frame):
        found["generalisation"] = generalisation_table(frame)
    if has_adaptation(frame):
        found["adaptation"] = adaptation_table(frame)
    if has_presets(frame):
        found["presets"] = presets_table(frame)
    if has_ranking(frame):
        found["ranking"] = ranking_table(in_the_same_cells(frame))
    if len(set(frame.architecture)) > 1:
        found["improvement"] = improvement_table(frame)
    if has_prices(frame):
        found["pareto"] = pareto_table(frame)
    return found | {
        "profiles": profiles_table(frame),
        "success": tables.success_table(frame),
        "steps_to_solved": tables.steps_to_solved_table(frame),
        **comparison_tables(frame),
    }


def _write_plots(results: Path, frame: pd.DataFrame) -> list[Path]:
    with style():
        return [
            path
            for name, draw in figures_for(frame).items()
            for path in write_figure(results / "plots", name, draw(frame))
        ]
