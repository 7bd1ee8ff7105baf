"""Commands that show what there is: report, claims, status, list, describe, diagnose, check."""

import sys
from pathlib import Path

import click

from membench.cli.options import (
    Given,
    json_option,
    match_option,
    memory_set_option,
    out_option,
    preset_option,
    read_horizons,
    set_option,
    settings_options,
)
from membench.cli.printing import print_json, print_table, say, show_report
from membench.errors import InputError, one_line, unknown_name


@click.command()
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path, exists=True))
@click.option("--pack", is_flag=True, help="Write all records into DIR/runs.jsonl too, to keep or pass on.")
@click.option(
    "--tensorboard", is_flag=True, help="Write the learning curves for TensorBoard too: DIR/tensorboard."
)
@out_option("DIR")
@json_option
def report(results: Path, pack: bool, tensorboard: bool, out: Path | None, as_json: bool) -> None:
    """Write a report again from its records.

    Tables, plots and report of the runs in DIR, finished or not.

    DIR is a results folder, or a file of records like its runs.jsonl.
    """
    show_report(results, out=out, pack=pack, tensorboard=tensorboard, as_json=as_json)


@click.command()
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@out_option("DIR")
@json_option
def claims(results: Path, out: Path | None, as_json: bool) -> None:
    """Judge the deep dive's claims by records.

    DIR is one results folder, or holds several, one per suite.
    """
    from membench.folders import make_writable_folder
    from membench.plan import runs_by_suite
    from membench.provenance import mixtures
    from membench.report.claims import claims_table
    from membench.report.evidence import frames_by_suite
    from membench.report.files import write_table

    by_suite, left_out = runs_by_suite(results)
    every_record = [record for runs in by_suite.values() for record in runs.records]
    frames, without_one_budget = frames_by_suite(by_suite)
    for sentence in [*left_out, *without_one_budget, *mixtures(every_record)]:
        say(sentence)
    table = claims_table(frames)
    make_writable_folder(out or results)
    files = write_table(out or results, "claims", table)
    if as_json:
        print_json(table.values.to_dict("records"))
        return
    told = table.shown.loc[:, ["Claim", "Verdict", "Measured"]]
    print_table("What the document claims, and what was measured", told.to_dict("records"))
    click.echo(f"table: {files[0]}")


@click.command()
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@json_option
def status(results: Path, as_json: bool) -> None:
    """Show how far the runs in DIR have come.

    What is done, running, failed and missing, and the time left.

    For another terminal than the one they run in; reads only. A run counts as running until five minutes
    after its latest note.
    """
    from datetime import timedelta

    from membench.status import folder_status, shown_status

    found = folder_status(results)
    for complaint in found.complaints:
        say(f"left out: {complaint}")
    if as_json:
        print_json(found)
        return
    if found.running:
        print_table("", shown_status(found))
    for failed in found.failed:
        click.echo(one_line(f"failed: {failed}"))
    if found.missing:
        click.echo(one_line(f"missing: {found.missing[0]}{' and others' * (len(found.missing) > 1)}"))
    num_done = sum(found.done.values())
    by_status = ", ".join(f"{count} {name}" for name, count in found.done.items())
    parts = [f"{num_done} of {found.planned} runs done" + f" ({by_status})" * bool(by_status)]
    parts += [f"{len(found.running)} running, {len(found.failed)} failed, {len(found.missing)} missing"]
    if found.seconds_left is not None:
        parts.append(f"about {timedelta(seconds=round(found.seconds_left))} left")
    click.echo(one_line(f"{found.suite}, {found.profile}: {'; '.join(parts)}"))


@click.command("list")
@click.argument("kind", required=False, metavar="[architectures|suites|presets|tasks]")
@json_option
def list_(kind: str | None, as_json: bool) -> None:
    """Show what there is to choose from."""
    kinds = {
        "architectures": _list_architectures,
        "suites": _list_suites,
        "presets": _list_presets,
        "tasks": _list_tasks,
    }
    if kind is not None and kind not in kinds:
        raise unknown_name("kind", kind, kinds)
    listing = {name: entries() for name, entries in kinds.items() if kind in (None, name)}
    if as_json:
        print_json(listing if kind is None else listing[kind])
        return
    for name, entries in listing.items():
        print_table(name, entries)


def _list_architectures() -> list[dict[str, str]]:
    from membench.catalogue import architecture_table

    return [{"name": name, "class": target} for name, target in architecture_table().items()]


def _list_suites() -> list[dict[str, str]]:
    from membench.suite import list_suites, load_suite

    suites = {name: load_suite(name) for name in list_suites()}
    return [
        {"name": name, "question": suite.question, "profiles": ", ".join(suite.profiles)}
        for name, suite in suites.items()
    ]


def _list_presets() -> list[dict[str, str]]:
    from membench.suite import list_presets, load_preset

    return [{"name": name, "description": load_preset(name).description} for name in list_presets()]


def _list_tasks() -> list[dict[str, str]]:
    from membench.envs import TASKS

    return [
        {"name": name, "description": (task.__doc__ or "").splitlines()[0]} for name, task in TASKS.items()
    ]


@click.command()
@click.argument("architecture")
@click.option(
    "--horizon",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Task to build for.",
)
@settings_options(match_option, preset_option, set_option)
@json_option
def describe(architecture: str, horizon: int, given: Given, as_json: bool) -> None:
    """Show what a memory is made of and costs.

    Parameters by part, the size of the state, the cost of a step.
    """
    from membench.config import nest
    from membench.describe import describe_agent

    config = given.config(architecture, nest("task.horizon", horizon))
    description = describe_agent(config)
    if as_json:
        print_json(description)
        return
    parameters = [
        {"part": part, "parameters": f"{count:,}"} for part, count in description["parameters"].items()
    ]
    print_table(f"{architecture}, horizon {horizon}", parameters)
    print_table(
        "cost",
        [
            {"what": "state per environment", "value": f"{description['state_bytes']:,} bytes"},
            {
                "what": "matrix products per step, forward",
                "value": f"{description['flops_per_step'] / 1e6:.3f} MFLOP",
            },
            {
                "what": "acting, one environment, this machine",
                "value": f"{description['seconds_per_acting_step'] * 1e3:.2f} ms per step",
            },
        ],
    )


@click.command()
@click.argument("architecture")
@click.option("--horizons", default="20,100", show_default=True, metavar="N,N,...", help="Tasks to look at.")
@settings_options(match_option, preset_option, set_option)
@json_option
def diagnose(architecture: str, horizons: str, given: Given, as_json: bool) -> None:
    """Show if an untrained memory tells cues apart.

    And whether it can learn to: distances and gradients, per horizon.
    """
    from membench.config import nest
    from membench.diagnosis import diagnose as diagnosis_of

    found = {
        horizon: diagnosis_of(given.config(architecture, nest("task.horizon", horizon)))
        for horizon in read_horizons(horizons)
    }
    if as_json:
        print_json(found)
        return
    print_table(
        f"{architecture}, before training",
        [
            {
                "horizon": horizon,
                "distance between cues at the query": f"{one.cue_distance:.2g}",
                "gradient that reaches the cue": f"{one.cue_gradient:.2g}",
                "query's share of the policy gradient": f"{one.question_share:.2g}",
            }
            for horizon, one in found.items()
        ],
    )


@click.command()
@click.argument("architecture")
@settings_options(memory_set_option)
@json_option
def check(architecture: str, given: Given, as_json: bool) -> None:
    """See whether a memory obeys the laws.

    ARCHITECTURE is a built-in name, or my.module:MyMemory.
    """
    from membench.check import check_architecture
    from membench.laws import CAUSES

    options = given.overrides().get("memory", {})
    for assignment in given.assignments:
        if not assignment.startswith("memory."):
            raise InputError(f"--set {assignment}: the laws know nothing of it (legal: memory.OPTION=VALUE)")
    results = check_architecture(architecture, options)
    broken = [result.name for result in results if not result.passed]
    if as_json:
        print_json({"architecture": architecture, "passed": not broken, "laws": results})
    else:
        print_table(
            architecture,
            [{"law": r.name, "": "holds" if r.passed else "BROKEN", "detail": r.detail} for r in results],
        )
        if len(broken) > 1 and broken[0] in CAUSES:
            click.echo(f"Begin with {broken[0]}: what else is broken may follow from it.")
    sys.exit(1 if broken else 0)
