"""Commands that train: run, train, tune."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from membench.care import Care
from membench.cli.carrying_out import (
    carry_out,
    command_for_all,
    load_pytorch_on_the_side,
    open_results_folder,
    tell_what_was_made_otherwise,
    train_with_display,
    usable_records,
)
from membench.cli.options import (
    Given,
    NamedPath,
    curriculum_option,
    device_option,
    json_option,
    match_option,
    out_option,
    preset_option,
    refresh_option,
    set_option,
    settings_options,
)
from membench.cli.printing import print_json, print_record, print_table, say, show_report
from membench.cli.running_options import care_options, engine_options, shard_option
from membench.engine import LOCAL, Engine

if TYPE_CHECKING:
    from membench.tuning import Tuned


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
    from membench.suite import load_suite, plan_runs, suite_digest

    overrides, preset = given.overrides(), given.load_preset()
    suite = load_suite(suite_name)
    load_pytorch_on_the_side(engine)

    from membench.execute import check_runnable
    from membench.plan import Plan, read_plan, shard_of, write_plan

    configs = plan_runs(
        suite,
        profile_name,
        architectures=None if architectures is None else architectures.split(","),
        num_seeds=num_seeds,
        preset=preset,
        overrides=overrides,
        num_parameters=given.num_parameters,
        source=suite_name,
    )
    results = out or Path("results") / Path(suite_name).stem
    check_runnable(configs, engine)
    open_results_folder(results)
    plan = Plan(
        suite=suite_name,
        profile=profile_name,
        question=suite.question,
        command=command_for_all(),
        suite_digest=suite_digest(suite, profile_name, preset),
        preset=given.preset,
        overrides=overrides,
        num_parameters=given.num_parameters,
        configs=configs,
    )
    configs = shard_of(configs, *engine.shard)
    trains = refresh or len(usable_records(configs, results)) < len(configs)
    write_plan(results, plan.extended(read_plan(results), trains=trains))
    finished = carry_out(configs, results, care, engine, refresh=refresh)
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
    from membench.folders import record_path
    from membench.records import read_record

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
        tell_what_was_made_otherwise([record])
    else:
        train_with_display(config, results, care, refresh=refresh)
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
    type=NamedPath(path_type=Path, dir_okay=False),
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

    The learning rate and initialisation of ARCHITECTURE, by the same search as for every memory. A search in
    which no run solved the task, or one failed, exits with 1; the same command does failed runs again.
    """
    from membench.catalogue import check_architecture_name
    from membench.plan import Plan, write_plan
    from membench.records import read_records
    from membench.tuning import outcome_of, read_outcomes, tuning_configs, write_outcome

    check_architecture_name(architecture)
    if into is not None:
        read_outcomes(into)  # what is wrong with it is told before the search
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
    finished = carry_out(configs, results, care, engine)
    outcome = outcome_of(architecture, read_records(results)[0], command)
    if into is not None and outcome.settings:
        write_outcome(into, architecture, outcome)
    if as_json:
        print_json(outcome)
    else:
        print_search(architecture, outcome)
    num_failed = sum(record.status == "failed" for record in finished)
    if num_failed:
        say(f"{num_failed} of {len(configs)} runs failed and count as not solved")
    if not outcome.settings:
        say(
            f"no run solved the task: nothing was found{'' if into is None else f', and {into} is as it was'}"
        )
    if num_failed or not outcome.settings:
        sys.exit(1)


def print_search(architecture: str, outcome: "Tuned") -> None:
    """Print what was tried in a search and what came of it."""
    from membench.config import flatten

    print_table(
        f"{architecture}: steps to solved, by seed",
        [
            {
                "settings": ", ".join(f"{name}={value}" for name, value in flatten(trial.settings).items()),
                "steps to solved": ", ".join(
                    "not solved" if steps is None else f"{steps:,}" for steps in trial.solved
                ),
                "": "best" if trial.settings == outcome.settings else "",
            }
            for trial in outcome.trials
        ],
    )
