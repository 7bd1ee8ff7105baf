"""The command that looks inside a trained agent: inspect."""

from pathlib import Path

import click

from membench.cli.options import json_option, out_option
from membench.cli.printing import print_json
from membench.errors import one_line


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--architecture",
    metavar="MODULE:CLASS",
    help="The memory's class, where it is neither built in nor installed: this imports it.",
)
@out_option("RESULTS/inspect/ID")
@json_option
def inspect(run: Path, architecture: str | None, out: Path | None, as_json: bool) -> None:
    """Look inside a trained agent: what its memory holds, where, and when it is lost.

    RUN is the place of a run's record, RESULTS/runs/ID, whose weights lie beside it.
    """
    from membench.inspect.page import inspect_run
    from membench.inspect.runs import load_run
    from membench.inspect.tables import summary
    from membench.inspect.words import answer, not_applying

    found, files = inspect_run(load_run(run, architecture), out)
    if as_json:
        print_json({"page": str(files.page), **summary(found)})
        return
    for sentence in answer(found):
        click.echo(f"- {one_line(sentence)}")
    for sentence in not_applying(found):
        click.echo(f"- does not apply: {one_line(sentence)}")
    click.echo(f"page:   {files.page}")
    for plot in files.plots:
        if plot.suffix == ".png":
            click.echo(f"plot:   {plot}")
