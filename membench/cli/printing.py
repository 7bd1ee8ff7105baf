"""What the commands print: tables, records and JSON."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from membench.errors import InputError, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from membench.records import RunRecord


UNLIMITED = 2**20
"""Columns: more than any table has. A file or another program has no width, and wants no names cut short."""


def stderr() -> "Console":
    """Return a console on standard error."""
    from rich.console import Console

    return Console(stderr=True)


def say(sentence: str) -> None:
    """Print one line on standard error; what names in it hold is text, and no command to the terminal."""
    click.echo(one_line(sentence), err=True)


STDOUT = "membench.stdout"
"""Where a command's context keeps standard output for its JSON."""


@contextmanager
def keeping_stdout_for_json() -> Iterator[None]:
    """Send to standard error what is printed within, as by a memory of the user's, but for `print_json`."""
    click.get_current_context().meta[STDOUT] = sys.stdout
    with redirect_stdout(sys.stderr):
        yield


def print_json(value: Any) -> None:
    """Print `value` as JSON on standard output; what a terminal would take for a command is escaped."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=1).decode()
    escaped = re.sub(r"[^ -~\n]", lambda letter: json.dumps(letter[0])[1:-1], text)
    click.echo(escaped, file=click.get_current_context().meta[STDOUT])


def print_record(record: "RunRecord", path: Path) -> None:
    """Print how a run ended and where its record lies."""
    from membench.records import describe_outcome

    click.echo(describe_outcome(record))
    click.echo(f"record: {path}")


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows of equal keys as a table: as wide as a terminal, and elsewhere as wide as what it holds."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = UNLIMITED
    if title:
        console.print(Text(one_line(title), style="table.title"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in rows[0] if rows else ():
        table.add_column(Text(one_line(column)))
    for row in rows:
        table.add_row(*(Text(one_line(str(value))) for value in row.values()))
    console.print(table)


def show_report(
    source: Path, *, out: Path | None = None, pack: bool = False, tensorboard: bool = False, as_json: bool
) -> None:
    """Write the report of a results folder or file of records; print its main table.

    Args:
        source: the folder or the file.
        out: where to write it instead.
        pack: write all records into one file, too.
        tensorboard: write the learning curves for TensorBoard, too.
        as_json: print the report's files and the records as JSON instead.

    Raises:
        InputError: if there is nothing to report on: it would replace the report that lies there.
    """
    from membench import logs
    from membench.frame import to_frame
    from membench.plan import plan_of
    from membench.records import pack_records, read_records
    from membench.report import ReportHeading, headline_caption, headline_table, write_report

    results = source.parent if source.is_file() else source
    with logs.taking_turns(results):  # or a report of fewer records could end after one of more
        records, complaints = read_records(source)
        plan, of_the_plan = plan_of(results, records)
        complaints += of_the_plan
        for complaint in complaints:
            say(f"left out: {complaint}")
        records, missing = plan.planned(records), [config.label for config in plan.missing(records)]
        if not records and (source.is_file() or not plan.configs):
            raise InputError(f"{source}: holds no record of {'a planned' if plan.configs else 'any'} run")
        heading = ReportHeading(
            suite=plan.suite,
            profile=plan.profile,
            question=plan.question,
            commands=[one.command for one in plan.commands],
            suite_changes=plan.suite_changes,
            seeds=sorted({config.seed for config in plan.configs}),
        )
        files = write_report(out or results, records, missing, complaints, heading)
    if pack:
        say(f"packed: {pack_records(results)}")
    if tensorboard:
        from membench.report.tensorboard import write_curves

        say(f"curves: {write_curves(out or results, records)}")
    if as_json:
        print_json({"report": str(files.report), "page": str(files.page), "records": records})
        return
    frame = to_frame(records)
    title = f"{plan.question} {headline_caption(frame)}"
    print_table(title, headline_table(frame).to_dict("records"))
    if missing:
        click.echo(one_line(f"missing: {len(missing)} of {len(plan.configs)} runs, for example {missing[0]}"))
    click.echo(f"report: {files.report}")
    click.echo(f"page:   {files.page}")
    for plot in files.plots:
        if plot.suffix == ".png":
            click.echo(f"plot:   {plot}")
