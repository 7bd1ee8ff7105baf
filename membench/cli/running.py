"""Commands that train: run, train, tune."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from membench.care import Care
from membench.cli.options import (
    Given,
    care_options,
    curriculum_option,
    device_option,
    engine_options,
    json_option,
    match_option,
    out_option,
    preset_option,
    refresh_option,
    set_option,
    settings_options,
    shard_option,
)
from membench.cli.printing import print_json, print_record, print_table, say, show_report, stderr
from membench.engine import LOCAL, Engine
from membench.errors import one_line

if TYPE_CHECKING:
    from membench.config import RunConfig
    from membench.records import RunRecord


@click.command()
@click.option(
    "--suite", "suite_name", required=True, metavar="NAME|PATH", help="A suite by name, or a TOML file."
)
@click.option(
    "--profile", "profile_name", default="quick", show_default=True, metavar="NAME", help="Size of the suite."
)
@click.option(
    "--architectures", metavar="A,B,...", help="Compare these; one of your own is my.module:MyMemory."
)
@click.option("--seeds", "num_seeds", type=click.IntRange(min=1), metavar="N", help="Seeds 0 to N-1.")
@engine_options
@shard_option
@care_options
@settings_options(match_option, preset_option, set_option, device_option)
@out_option("results/SUITE")
@refresh_option
@json_option
def run(
    suite_name: str,
    profile_name: str,
    architectures: str | None,
    num_seeds: int | None,
    engine: Engine,
    care: Care,
    given: Given,
    out: Path | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Run a suite and write its report.

    Records, tables, plots, report.md and report.html.

    Runs that the results folder holds already are not done again, unless they failed: the same command goes
    on where it stopped.
    """
    from membench.suite import load_suite, plan_runs

    overrides = given.overrides()
    suite = load_suite(suite_name)
    load_pytorch_on_the_side(engine)

    from membench.execute import check_runnable
    from membench.plan import Plan, read_plan, shard_of, write_plan

    configs = plan_runs(
        suite,
        profile_name,
        architectures=architectures.split(",") if architectures else None,
        num_seeds=num_seeds,
        preset=given.load_preset(),
        overrides=overrides,
        num_parameters=given.num_parameters,
        source=suite_name,
    )
    results = out or Path("results") / Path(suite_name).stem
    check_runnable(configs, engine)
    open_results_folder(results)
    plan = Plan(
        suite=Path(suite_name).stem,
        profile=profile_name,
        question=suite.question,
        command=command_for_all(),
        preset=given.preset,
        overrides=overrides,
        num_parameters=given.num_parameters,
        configs=configs,
    )
    write_plan(results, plan.extended(read_plan(results)))
    finished = carry_out(shard_of(configs, *engine.shard), results, care, engine, refresh=refresh)
    show_report(results, as_json=as_json)
    if any(record.status == "failed" for record in finished):
        sys.exit(1)


@click.command()
@click.option("--architecture", required=True, metavar="NAME", help="A built-in name, or my.module:MyMemory.")
@click.option(
    "--horizon", type=click.IntRange(min=0), metavar="N", help="Steps between cue and query.  [default: 20]"
)
@click.option(
    "--total-timesteps", type=click.IntRange(min=1), metavar="N", help="Steps to train for at most."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="S", help="[default: 0]")
@care_options
@settings_options(curriculum_option, match_option, preset_option, set_option, device_option)
@out_option("results/train")
@refresh_option
@json_option
def train(
    architecture: str,
    horizon: int | None,
    total_timesteps: int | None,
    seed: int | None,
    care: Care,
    given: Given,
    out: Path | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Train one agent; write record and weights."""
    load_pytorch_on_the_side(LOCAL)

    from membench.config import merge, nest
    from membench.execute import check_runnable
    from membench.records import read_record, record_path

    flags = {"total_timesteps": total_timesteps, "seed": seed}
    config = given.config(
        architecture,
        merge(
            {key: value for key, value in flags.items() if value is not None},
            nest("task.horizon", horizon) if horizon is not None else {},
        ),
    )
    results = out or Path("results/train")
    check_runnable([config])
    open_results_folder(results)
    path = record_path(results, config.run_id)
    if path.exists() and not refresh:
        record = read_record(path)
        say(f"{path} is there already; --refresh trains again")
        _tell_what_was_made_otherwise([record])
    else:
        _train_with_display(config, results, care, refresh=refresh)
        record = read_record(path)
    if as_json:
        print_json(record)
    else:
        print_record(record, path)
    if record.status == "failed":
        sys.exit(1)


@click.command()
@click.argument("architecture")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep the outcome in this file. Runs read architectures/tuned.json alone; for a memory of your own, "
    "write what was found into its class's `settings`.",
)
@engine_options
@care_options
@out_option("results/tune-ARCHITECTURE")
@json_option
def tune(
    architecture: str,
    into: Path | None,
    engine: Engine,
    care: Care,
    out: Path | None,
    as_json: bool,
) -> None:
    """Search a memory's settings, as was done for all.

    The learning rate and initialisation of ARCHITECTURE, by the same search as for every memory.
    """
    from membench.catalogue import check_architecture_name
    from membench.config import flatten
    from membench.plan import Plan, write_plan
    from membench.records import read_records
    from membench.tuning import outcome_of, tuning_configs, write_outcome

    check_architecture_name(architecture)
    load_pytorch_on_the_side(engine)
    configs = [config for trial in tuning_configs(architecture) for config in trial]
    results = out or Path("results") / f"tune-{architecture.replace(':', '.')}"
    open_results_folder(results)
    command = shlex.join(["membench", "tune", architecture])
    plan = Plan(
        suite=f"tune {architecture}",
        profile="search",
        question="Which learning rate and initialisation suit this memory?",
        command=command,
        configs=configs,
    )
    write_plan(results, plan)
    carry_out(configs, results, care, engine)
    outcome = outcome_of(architecture, read_records(results)[0], command)
    if into is not None:
        write_outcome(into, architecture, outcome)
    if as_json:
        print_json(outcome)
        return
    print_table(
        f"{architecture}: steps to solved, by seed",
        [
            {
                "settings": ", ".join(f"{name}={value}" for name, value in flatten(trial.settings).items()),
                "steps to solved": ", ".join(f"{steps:,}" for steps in trial.steps_to_solved),
                "": "best" if trial.settings == outcome.settings else "",
            }
            for trial in outcome.trials
        ],
    )


def load_pytorch_on_the_side(engine: Engine) -> None:
    """Have the server of processes that are to do runs here load PyTorch while this process does."""
    from membench.executors.processes import process_context

    if engine.executor == LOCAL.executor:
        process_context()


def command_for_all() -> str:
    """Return the command as it was typed, without the part of the runs that this program does."""
    words = sys.argv[1:]
    values = {place + 1 for place, word in enumerate(words) if word == "--shard"}
    kept = [
        word
        for place, word in enumerate(words)
        if place not in values and word.partition("=")[0] != "--shard"
    ]
    return shlex.join(["membench", *kept])


def open_results_folder(results: Path) -> None:
    """Make a results folder if need be; what lies in the place of records or a plan and is none is set aside.

    Raises:
        InputError: if it cannot be written to.
    """
    from membench.plan import set_aside_plan
    from membench.records import make_results_folder, set_aside_faults

    make_results_folder(results)
    for sentence in [*set_aside_faults(results), *set_aside_plan(results)]:
        say(sentence)


@contextmanager
def keeping_what_is_done(results: Path, *, refresh: bool) -> Iterator[None]:
    """Answer Ctrl-C, SIGTERM and a full disk with how to go on; a signal's exit code is 128 + its number."""
    from membench.execute import Stopped

    command = shlex.join(["membench", *sys.argv[1:]])
    kept = (
        f"what was done is kept in {results}, and this {'begins anew' if refresh else 'goes on'}: {command}"
    )
    try:
        yield
    except (Stopped, KeyboardInterrupt) as stop:
        say(f"interrupted; {kept}")
        raise Exit(128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)) from None
    except OSError as error:
        say(f"membench: {error.filename or results}: {error.strerror}; {kept}")
        sys.exit(1)


def carry_out(
    configs: list["RunConfig"], results: Path, care: Care, engine: Engine, *, refresh: bool = False
) -> list["RunRecord"]:
    """Do those runs that the results folder lacks or that failed, or with `refresh` all, with a display."""
    from membench.display import SuiteDisplay
    from membench.execute import forget_checkpoints, run_all
    from membench.records import read_records

    wanted = {config.run_id for config in configs}
    records = [] if refresh else read_records(results)[0]
    records = [record for record in records if record.status != "failed" and record.config.run_id in wanted]
    present = {record.config.run_id for record in records}
    missing = [config for config in configs if config.run_id not in present]
    num_present = len(configs) - len(missing)
    if num_present:
        say(f"{num_present} runs are there already, {len(missing)} to do")
        _tell_what_was_made_otherwise(records)
    if not missing:
        return []
    if refresh:
        forget_checkpoints(missing, results)
    with (
        keeping_what_is_done(results, refresh=refresh),
        SuiteDisplay(stderr(), len(configs), num_present) as display,
    ):
        return run_all(missing, results, on_change=display.update, care=care, engine=engine)


def _tell_what_was_made_otherwise(records: list["RunRecord"]) -> None:
    from membench.describe import versions
    from membench.provenance import differences

    ours = {name: versions(name) for name in {record.architecture for record in records}}
    found = [differences(record.versions, ours[record.architecture]) for record in records]
    if differing := [one for one in found if one]:
        say(
            f"{len(differing)} of them are of other code or libraries (for example {differing[0][0]}); they "
            "count and are marked, --refresh does them again"
        )


def _train_with_display(config: "RunConfig", results: Path, care: Care, *, refresh: bool) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from membench.execute import Standing, forget_checkpoints, run_all

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    if refresh:
        forget_checkpoints([config], results)
    with (
        keeping_what_is_done(results, refresh=refresh),
        Progress(*columns, console=stderr(), transient=True) as display,
    ):
        task = display.add_task(one_line(config.label), total=config.total_timesteps, note="")

        def show(standing: Standing) -> None:
            if note := standing.progress_of(config):
                greedy = "-" if note.success is None else f"{note.success:.2f}"
                text = f"{note.steps:,} steps, greedy {greedy}, sampled {note.train_success or 0:.2f}"
                display.update(task, completed=note.steps, note=text)

        run_all([config], results, on_change=show, care=care)
