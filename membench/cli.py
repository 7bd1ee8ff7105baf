"""The command line: parse, call, print. Heavy imports happen inside the commands, so that help is quick."""

import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from membench import __version__
from membench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from rich.console import Console

    from membench.config import RunConfig, Settings
    from membench.records import RunRecord

INTERRUPTED = 130


class OneLineErrors(click.Group):
    """A command group that answers a mistake with one line on standard error and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command that was asked for and exit."""
        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}))
        except (click.ClickException, InputError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            click.echo(f"membench: {' '.join(message.split())}", err=True)
            sys.exit(2)
        except click.Abort:
            sys.exit(INTERRUPTED)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which name is nearest."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown_name("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def _options(*options: Callable) -> Callable:
    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


preset_option = click.option(
    "--preset", metavar="NAME", help="Lay a preset over the settings (membench list presets)."
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Set any field of the configuration, for example ppo.learning_rate=3e-4; wins over everything.",
)
device_option = click.option("--device", metavar="cpu|cuda[:N]", help="Where to train.  [default: cpu]")
refresh_option = click.option("--refresh", is_flag=True, help="Do runs again that are there already.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on standard output, and only that."
)


def out_option(default: str) -> Callable:
    """Return the option --out; `default` says in words where results go without it."""
    return click.option(
        "--out", type=click.Path(path_type=Path), metavar="DIR", help=f"Results folder.  [default: {default}]"
    )


@click.group(
    cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="membench")
def main() -> None:
    """Which memory should a reinforcement-learning agent have?

    Start with: membench run --suite horizons
    """


@main.command()
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
@click.option(
    "--jobs",
    "num_jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs side by side.  [default: one per core]",
)
@_options(preset_option, set_option, device_option, out_option("results/SUITE"), refresh_option, json_option)
def run(
    suite_name: str,
    profile_name: str,
    architectures: str | None,
    num_seeds: int | None,
    num_jobs: int | None,
    preset: str | None,
    assignments: tuple[str, ...],
    device: str | None,
    out: Path | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Run a suite and write its records, tables, plots and report.

    Runs that the results folder holds already are not done again, unless they failed: the same command goes
    on where it stopped.
    """
    from membench.execute import available_cores, check_runnable
    from membench.plan import Plan, read_plan, write_plan
    from membench.records import make_results_folder, read_records
    from membench.suite import load_preset, load_suite, plan_runs

    overrides = _overrides(assignments, device)
    suite = load_suite(suite_name)
    configs = plan_runs(
        suite,
        profile_name,
        architectures=architectures.split(",") if architectures else None,
        num_seeds=num_seeds,
        preset=load_preset(preset) if preset else None,
        overrides=overrides,
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
        preset=preset,
        overrides=overrides,
        configs=configs,
    )
    write_plan(results, plan.extended(read_plan(results)))
    there = [] if refresh else plan.planned(read_records(results)[0])
    present = [record for record in there if record.status != "failed"]
    finished = _carry_out(plan.missing(present), results, num_jobs or available_cores(), len(present))
    _show_report(results, as_json=as_json)
    if any(record.status == "failed" for record in finished):
        sys.exit(1)


@main.command()
@click.option("--architecture", required=True, metavar="NAME", help="A built-in name, or my.module:MyMemory.")
@click.option(
    "--horizon", type=click.IntRange(min=0), metavar="N", help="Steps between cue and query.  [default: 20]"
)
@click.option(
    "--total-timesteps", type=click.IntRange(min=1), metavar="N", help="Steps to train for at most."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="S", help="[default: 0]")
@_options(preset_option, set_option, device_option, out_option("results/train"), refresh_option, json_option)
def train(
    architecture: str,
    horizon: int | None,
    total_timesteps: int | None,
    seed: int | None,
    preset: str | None,
    assignments: tuple[str, ...],
    device: str | None,
    out: Path | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Train one agent and write its record and its weights."""
    from membench.config import build_config, merge, nest
    from membench.execute import check_runnable
    from membench.records import make_results_folder, read_record, record_path
    from membench.suite import load_preset

    flags = {"architecture": architecture, "total_timesteps": total_timesteps, "seed": seed}
    config = build_config(
        merge(
            load_preset(preset).settings_for(architecture) if preset else {},
            {key: value for key, value in flags.items() if value is not None},
            nest("task.horizon", horizon) if horizon is not None else {},
            _overrides(assignments, device),
        )
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
        _print_json(record)
    else:
        _print_record(record, path)
    if record.status == "failed":
        sys.exit(1)


@main.command()
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_options(out_option("DIR"), json_option)
def report(results: Path, out: Path | None, as_json: bool) -> None:
    """Write tables, plots and report again from the records in DIR, finished or not."""
    _show_report(results, out=out, as_json=as_json)


@main.command("list")
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
        _print_json(listing if kind is None else listing[kind])
        return
    for name, entries in listing.items():
        _print_table(name, entries)


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


@main.command()
@click.argument("architecture")
@click.option(
    "--horizon",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Task to build for.",
)
@_options(preset_option, set_option, json_option)
def describe(
    architecture: str, horizon: int, preset: str | None, assignments: tuple[str, ...], as_json: bool
) -> None:
    """Show an architecture's parameters by part, its state's size and its cost per step."""
    from membench.config import build_config, merge, nest
    from membench.describe import describe_agent
    from membench.suite import load_preset

    config = build_config(
        merge(
            load_preset(preset).settings_for(architecture) if preset else {},
            {"architecture": architecture},
            nest("task.horizon", horizon),
            _overrides(assignments, None),
        )
    )
    description = describe_agent(config)
    if as_json:
        _print_json(description)
        return
    parameters = [
        {"part": part, "parameters": f"{count:,}"} for part, count in description["parameters"].items()
    ]
    _print_table(f"{architecture}, horizon {horizon}", parameters)
    _print_table(
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


@main.command()
@click.argument("architecture")
@_options(set_option, json_option)
def check(architecture: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Run the laws that every memory obeys on ARCHITECTURE: a built-in name, or my.module:MyMemory."""
    from membench.check import check_architecture

    options = _overrides(assignments, None).get("memory", {})
    results = check_architecture(architecture, options)
    passed = all(result.passed for result in results)
    if as_json:
        _print_json({"architecture": architecture, "passed": passed, "laws": results})
    else:
        _print_table(
            architecture,
            [{"law": r.name, "": "holds" if r.passed else "BROKEN", "detail": r.detail} for r in results],
        )
    sys.exit(0 if passed else 1)


def _overrides(assignments: tuple[str, ...], device: str | None) -> "Settings":
    """Return the settings of --device and of each --set FIELD=VALUE; a value is TOML, else a plain string."""
    from membench.config import build_config, merge, nest

    overrides: Settings = {} if device is None else {"device": device}
    for assignment in assignments:
        field, separator, text = assignment.partition("=")
        if not separator or not all(field.split(".")):
            raise InputError(f"--set {assignment!r}: must be FIELD=VALUE, for example ppo.learning_rate=3e-4")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        overrides = merge(overrides, nest(field, value))
    build_config(merge({"architecture": "gru"}, overrides), source="--set" if assignments else "--device")
    return overrides


def _carry_out(
    configs: list["RunConfig"], results: Path, num_jobs: int, num_present: int
) -> list["RunRecord"]:
    """Do the runs with a display; Ctrl-C leaves what is finished and says how to go on."""
    from membench.display import SuiteDisplay
    from membench.execute import run_all

    if num_present:
        click.echo(f"{num_present} runs are there already, {len(configs)} to do", err=True)
    if not configs:
        return []
    with SuiteDisplay(_stderr(), num_present + len(configs), num_present) as display:
        try:
            return run_all(configs, results, num_jobs=num_jobs, on_change=display.update)
        except KeyboardInterrupt:
            display.live.stop()
            click.echo(f"interrupted; what has ended is in {results}, and the same command goes on", err=True)
            raise click.Abort from None


def _show_report(results: Path, *, out: Path | None = None, as_json: bool) -> None:
    """Write the report of a results folder and print its main table, or its records as JSON."""
    from membench.plan import plan_of
    from membench.records import read_records, to_frame
    from membench.report import ReportHeading, headline_table, write_report

    records, complaints = read_records(results)
    plan = plan_of(results, records)
    records, missing = plan.planned(records), [config.label for config in plan.missing(records)]
    heading = ReportHeading(
        suite=plan.suite,
        profile=plan.profile,
        question=plan.question,
        command=plan.command,
        seeds=sorted({config.seed for config in plan.configs}),
    )
    files = write_report(out or results, records, missing, complaints, heading)
    for complaint in complaints:
        click.echo(f"set aside: {complaint}", err=True)
    if as_json:
        _print_json(records)
        return
    title = f"{plan.question} Mean success (runs solved / runs)"
    _print_table(title, headline_table(to_frame(records)).to_dict("records"))
    if missing:
        click.echo(f"missing: {len(missing)} of {len(plan.configs)} runs, for example {missing[0]}")
    click.echo(f"report: {files.report}")
    for plot in files.plots:
        if plot.suffix == ".png":
            click.echo(f"plot:   {plot}")


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
    with Progress(*columns, console=_stderr(), transient=True) as display:
        task = display.add_task(config.label, total=config.total_timesteps, note="")

        def show(step: Step) -> None:
            greedy = "-" if step.success is None else f"{step.success:.2f}"
            note = f"{step.steps:,} steps, greedy {greedy}, sampled {step.train_success or 0:.2f}"
            display.update(task, completed=step.steps, note=note)

        return run_here(config, results, started=process_started(), on_progress=show)


def _stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)


def _print_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=1).decode())


def _print_record(record: "RunRecord", path: Path) -> None:
    from membench.display import describe_outcome

    click.echo(describe_outcome(record).plain)
    if record.steps_to_solved is not None:
        click.echo(f"solved after {record.steps_to_solved:,} steps, {record.seconds_to_solved:.1f} s")
    click.echo(f"record: {path}")


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows of equal keys as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in rows[0] if rows else ():
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    Console().print(table)
