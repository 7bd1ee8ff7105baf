"""The command that measures cost: bench."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from membench.cli.carrying_out import keeping_what_is_done
from membench.cli.options import (
    Given,
    device_option,
    json_option,
    match_option,
    out_option,
    preset_option,
    read_horizons,
    refresh_option,
    set_option,
    settings_options,
)
from membench.cli.printing import print_json, print_table, say
from membench.errors import InputError

if TYPE_CHECKING:
    from membench.bench import Cost, Measurements
    from membench.config import RunConfig


@click.command()
@click.option(
    "--architectures", metavar="A,B,...", help="Measure these.  [default: those of the suite horizons]"
)
@click.option(
    "--horizons",
    default="16,64,256,1024",
    show_default=True,
    metavar="N,N,...",
    help="Tasks to train on.",
)
@click.option(
    "--steps-per-iteration",
    type=click.IntRange(min=1),
    metavar="N",
    default=8192,
    show_default=True,
    help="Environment steps per rollout at every horizon, one episode at least.",
)
@click.option(
    "--rounds",
    "num_rounds",
    type=click.IntRange(min=1),
    metavar="N",
    default=5,
    show_default=True,
    help="Iterations that are timed.",
)
@click.option(
    "--peers",
    is_flag=True,
    help="Instead, time sb3-contrib's RecurrentPPO and membench in turns, on the same work.",
)
@settings_options(match_option, preset_option, set_option, device_option)
@refresh_option
@out_option("results/bench")
@json_option
def bench(
    architectures: str | None,
    horizons: str,
    steps_per_iteration: int,
    num_rounds: int,
    peers: bool,
    given: Given,
    refresh: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure what training costs.

    Steps per second and memory against horizon, beside the machine's limit.

    The same command goes on where it was interrupted. What --refresh measures again takes the place of what
    is there once it is whole.

    Every memory has 225,000 parameters unless --match-parameters, --preset or a hidden_size says otherwise.
    """
    if peers:
        refuse_other_options("peers", "num_rounds", "as_json")
        show_peers(num_rounds, as_json=as_json)
        return
    from membench.bench import bench_config
    from membench.execute import check_runnable
    from membench.folders import make_writable_folder
    from membench.report.costs import COSTS_FILE, write_tables_and_figure

    configs = [
        bench_config(config, horizon, steps_per_iteration)
        for config in agents_to_measure(architectures, given)
        for horizon in read_horizons(horizons)
    ]
    check_runnable(configs)
    results = out or Path("results/bench")
    if (results / COSTS_FILE).exists() and not refresh:
        raise InputError(
            f"{str(results)!r}: holds measurements already; --refresh measures again, --out goes elsewhere"
        )
    make_writable_folder(results)
    measurements = measure_into(results, configs, num_rounds)
    files = write_tables_and_figure(results, measurements.costs)
    if as_json:
        print_json(measurements)
        return
    print_costs(measurements.costs)
    for file in files:
        click.echo(f"wrote {file}")


def measure_into(results: Path, configs: list["RunConfig"], num_rounds: int) -> "Measurements":
    """Measure what an interrupted measurement of the same did not, and write all of it into `results`."""
    from membench.bench import Measurements, measure_all
    from membench.describe import machine, versions
    from membench.report.costs import kept_costs, write_measurements

    measurements = Measurements(costs=[], machine=machine(configs[0].device), versions=versions())
    measurements.costs.extend(kept_costs(results, measurements, configs, num_rounds))
    kept = {cost.config.run_id for cost in measurements.costs}
    if kept:
        say(f"{len(kept)} of {len(configs)} measurements are there from before; the others follow")
    missing = [config for config in configs if config.run_id not in kept]
    with keeping_what_is_done(results, refresh=False):
        for cost in measure_all(missing, num_rounds=num_rounds):
            measurements.costs.append(cost)
            write_measurements(results, measurements, finished=False)
            where = f"{cost.config.architecture}, horizon {cost.config.task.horizon}"
            click.echo(f"{where}: {cost.steps_per_second:,.0f} steps/s", err=True)
        write_measurements(results, measurements)
    return measurements


def print_costs(costs: list["Cost"]) -> None:
    """Print what training costs, and how that grows with the horizon where there are several."""
    from membench.report.costs import costs_table, exponents_table, has_several_horizons, to_frame

    frame = to_frame(costs)
    print_table(
        "What training costs (limit: one large matrix product, float32, same device)",
        costs_table(frame).shown.to_dict("records"),
    )
    if has_several_horizons(frame):
        print_table("How it grows with the horizon", exponents_table(frame).shown.to_dict("records"))


def agents_to_measure(architectures: str | None, given: Given) -> list["RunConfig"]:
    """Return a configuration per memory, of equal size where none is stated and the memory has a width.

    Raises:
        InputError: for an unknown memory, or a setting that another option decides.
    """
    from membench.catalogue import check_architecture_name, memory_options
    from membench.suite import load_suite
    from membench.tuning import NUM_PARAMETERS

    names = load_suite("horizons").architectures if architectures is None else architectures.split(",")
    for name in names:
        check_architecture_name(name)
    matched = replace(given, num_parameters=NUM_PARAMETERS) if given.states_no_size() else given
    return [(matched if "hidden_size" in memory_options(name) else given).config(name, {}) for name in names]


def refuse_other_options(*allowed: str) -> None:
    """See that no other option of the command was given than these.

    Raises:
        InputError: naming one that was.
    """
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if name not in allowed and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InputError(f"{option.opts[0]}: has no meaning beside --peers")


def show_peers(num_rounds: int, *, as_json: bool) -> None:
    """Time other systems beside membench and print what came of it."""
    from membench.peers import compare_with_peers

    costs = compare_with_peers(num_rounds)
    if as_json:
        print_json(costs)
        return
    slowest = min(cost.steps_per_second for cost in costs)
    rows = [
        {
            "system": cost.system,
            "parameters": f"{cost.parameters:,}",
            "steps/s": f"{cost.steps_per_second:,.0f}",
            "times the slowest": f"{cost.steps_per_second / slowest:.1f}",
        }
        for cost in costs
    ]
    print_table("Whole PPO iterations, cue memory at horizon 20, one thread", rows)
