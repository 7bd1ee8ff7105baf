"""The command that sets two memories side by side: compare."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from membench.cli.options import json_option, out_option
from membench.cli.printing import print_json, print_table, say
from membench.errors import InputError, one_line

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.argument("memory")
@click.argument("other")
@click.option(
    "--results",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True),
    default="results",
    show_default=True,
    help="Compare by the runs in here: a results folder, several, one per suite, or a runs.jsonl.",
)
@click.option(
    "--bench",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Results folder of membench bench.  [default: the one in --results]",
)
@out_option("compare in --results")
@json_option
def compare(
    memory: str, other: str, results: Path, bench: Path | None, out: Path | None, as_json: bool
) -> None:
    """Set two memories side by side, as the deep dive does.

    Every number comes from runs or from membench bench. What was not measured says by which command it would
    be; what is stated and measured by nothing is marked so.
    """
    from membench.catalogue import check_architecture_name
    from membench.folders import make_writable_folder
    from membench.plan import planned_runs, where_runs_lie
    from membench.provenance import mixtures
    from membench.report import costs
    from membench.report.evidence import frames_by_suite
    from membench.report.files import write_table
    from membench.report.looks import display_name
    from membench.report.pairs import REMEDY, Evidence, pair_table
    from membench.untrusted import refuse_links

    for name in (memory, other):
        check_architecture_name(name)
    if memory == other:
        raise InputError(f"compare {memory} {other}: the same memory twice; name two")
    folder = results if results.is_dir() else results.parent
    by_suite, left_out = planned_runs(results)
    every_record = [record for runs in by_suite.values() for record in runs.records]
    measurements = costs.find_measurements(bench or folder)
    if bench and measurements is None:
        raise InputError(f"--bench {str(bench)!r}: no {costs.COSTS_FILE} is in there")
    frames, without_one_budget = frames_by_suite(by_suite)
    for sentence in [*left_out, *without_one_budget, *mixtures(every_record)]:
        say(sentence)
    if not {memory, other} & {record.architecture for record in every_record}:
        say(
            f"--results {str(results)!r}: no runs of {memory} or {other} are in there{where_runs_lie(folder)}"
        )
    measured = costs.read_measurements(measurements).costs if measurements else []
    evidence = Evidence(
        frames,
        by_suite,
        costs.to_frame(measured) if measured else None,
        measurements,
    )
    is_one_suite = (folder / "plan.json").exists()
    table = pair_table(evidence, (memory, other), folder.parent if is_one_suite else folder)
    target = out or folder / "compare"
    refuse_links(folder)
    make_writable_folder(target)
    files = write_table(target, re.sub(r"\W+", "_", f"{memory}_vs_{other}"), table)
    if as_json:
        print_json(table.values.to_dict("records"))
        return
    print_table(f"{display_name(memory)} and {display_name(other)}", shown_narrow(table.shown, memory, other))
    for command in table.shown[REMEDY].drop_duplicates():
        if command:
            click.echo(one_line(f"not measured; would be by: {command}"))
    click.echo(f"table: {files[0]}")


def shown_narrow(shown: "pd.DataFrame", *names: str) -> list[dict[str, str]]:
    """Return the rows of a comparison with the document's words behind what was found, for a terminal."""
    from membench.report.looks import display_name
    from membench.report.text import NOTHING

    rows = []
    for row in shown.to_dict("records"):
        told = {"": row["Feature"]}
        for name in map(display_name, names):
            words = row[f"{name}: the document"]
            told[name] = row[f"{name}: here"] + f" [document: {words}]" * (words != NOTHING)
        rows.append(told)
    return rows
