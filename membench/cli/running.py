"""Commands that train: run, train, tune."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from membench.cli.options import (
    Given,
    curriculum_option,
    device_option,
    jobs_option,
    json_option,
    match_option,
    out_option,
    preset_option,
    refresh_option,
    set_option,
    settings_options,
)
from membench.cli.printing import print_json, print_record, print_table, show_report, stderr

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
@jobs_option
@settings_options(match_option, preset_option, set_option, device_option)
@out_option("results/SUITE")
@refresh_option
@json_option
def run(
    suite_name: str,
    profile_name: str,
    architectures: str | None,
    num_seeds: int | None,
    num_jobs: int | None,
    given: Given,
    out: Path | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Run a suite and write its records, tables, plots and report.

    Runs that the results folder holds already are not done again, unless they failed: the same command goes
    on where it stopped.
    """
    from membench.execute import check_runnable
    from membench.plan import Plan, read_plan, write_plan
    from membench.records import make_results_folder
    from membench.suite import load_suite, plan_runs

    overrides = given.overrides()
    suite = load_suite(suite_name)
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
    make_results_folder(results)
    check_runnable(configs)
    plan = Plan(
        suite=Path(suite_name).stem,
        profile=profile_name,
        question=suite.question,
        command=shlex.join(["membench", *sys.argv[1:]]),
        preset=given.preset,
        overrides=overrides,
        num_parameters=given.num_parameters,
        configs=configs,
    )
    write_plan(results, plan.extended(read_plan(results)))
    finished = carry_out(configs, results, num_jobs, refresh=refresh)
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
@settings_options(curriculum_option, match_option, preset_option, set_option, device_option)
@out_option("results/train")
@refresh_option
@json_option
def train(
    architecture: str,
    horizon: int | None,
    total_timesteps: int | None,
    seed: int | None,
    given: Given,
    out: Path | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Train one agent and write its record and its weights."""
    from membench.config import merge, nest
    from membench.execute import check_runnable
    from membench.records import make_results_folder, read_record, record_path

    flags = {"total_timesteps": total_timesteps, "seed": seed}
    config = given.config(
        architecture,
        merge(
            {key: value for key, value in flags.items() if value is not None},
            nest("task.horizon", horizon) if horizon is not None else {},
        ),
    )
    results = out or Path("results/train")
    make_results_folder(results)
    check_runnable([config])
    path = record_path(results, config.run_id)
    if path.exists() and not refresh:
        record = read_record(path)
        click.echo(f"{path} is there already; --refresh trains again", err=True)
    else:
        record = _train_with_display(config, results)
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
@jobs_option
@out_option("results/tune-ARCHITECTURE")
@json_option
def tune(architecture: str, into: Path | None, num_jobs: int | None, out: Path | None, as_json: bool) -> None:
    """Search ARCHITECTURE's learning rate and initialisation: the same search for every memory."""
    from membench.catalogue import check_architecture_name
    from membench.config import flatten
    from membench.records import make_results_folder, read_records
    from membench.tuning import outcome_of, tuning_configs, write_outcome

    check_architecture_name(architecture)
    configs = [config for trial in tuning_configs(architecture) for config in trial]
    results = out or Path("results") / f"tune-{architecture.replace(':', '.')}"
    make_results_folder(results)
    carry_out(configs, results, num_jobs)
    command = shlex.join(["membench", "tune", architecture])
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


def carry_out(
    configs: list["RunConfig"], results: Path, num_jobs: int | None, *, refresh: bool = False
) -> list["RunRecord"]:
    """Do those runs that the results folder lacks or that failed, or with `refresh` all, with a display.

    Ctrl-C leaves what is finished and says how to go on.
    """
    from membench.display import SuiteDisplay
    from membench.execute import available_cores, run_all
    from membench.records import read_records

    records = [] if refresh else read_records(results)[0]
    present = {record.config.run_id for record in records if record.status != "failed"}
    missing = [config for config in configs if config.run_id not in present]
    num_present = len(configs) - len(missing)
    if num_present:
        click.echo(f"{num_present} runs are there already, {len(missing)} to do", err=True)
    if not missing:
        return []
    with SuiteDisplay(stderr(), len(configs), num_present) as display:
        try:
            return run_all(missing, results, num_jobs=num_jobs or available_cores(), on_change=display.update)
        except KeyboardInterrupt:
            display.live.stop()
            click.echo(f"interrupted; what has ended is in {results}, and the same command goes on", err=True)
            raise click.Abort from None


def _train_with_display(config: "RunConfig", results: Path) -> "RunRecord":
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from membench.execute import run_here
    from membench.train import Progress as Step
    from membench.train import process_started

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True) as display:
        task = display.add_task(config.label, total=config.total_timesteps, note="")

        def show(step: Step) -> None:
            greedy = "-" if step.success is None else f"{step.success:.2f}"
            note = f"{step.steps:,} steps, greedy {greedy}, sampled {step.train_success or 0:.2f}"
            display.update(task, completed=step.steps, note=note)

        return run_here(config, results, started=process_started(), on_progress=show)
