"""The command that measures cost: bench."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
from membench.cli.printing import print_json, print_table, stderr
from membench.errors import InputError

if TYPE_CHECKING:
    from membench.bench import Cost

NUM_PARAMETERS = 225_000
"""Of every agent, unless a size is stated: as in the suites' quick profiles."""


@click.command()
@click.option("--architectures", metavar="A,B,...", help="Measure these.  [default: all built-in ones]")
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
    help="Environment steps per rollout, at every horizon.",
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
    """Measure what training costs: steps per second and memory against horizon, beside the machine's limit.

    Every memory has 225,000 parameters unless --match-parameters, --preset or a hidden_size says otherwise.
    """
    if peers:
        show_peers(num_rounds, as_json=as_json)
        return
    from membench.bench import bench_config, measure_all
    from membench.catalogue import architecture_table, check_architecture_name
    from membench.execute import check_runnable
    from membench.report.costs import (
        COSTS_FILE,
        costs_table,
        exponents_table,
        has_several_horizons,
        to_frame,
        write_costs,
    )

    if given.states_no_size():
        given = replace(given, num_parameters=NUM_PARAMETERS)
    names = architectures.split(",") if architectures else list(architecture_table())
    configs = []
    for name in names:
        check_architecture_name(name)
        config = given.config(name, {})
        configs += [bench_config(config, horizon, steps_per_iteration) for horizon in read_horizons(horizons)]
    check_runnable(configs)
    results = out or Path("results/bench")
    if (results / COSTS_FILE).exists() and not refresh:
        raise InputError(
            f"{str(results)!r}: holds measurements already; --refresh measures again, --out goes elsewhere"
        )
    console = stderr()

    def show(cost: "Cost") -> None:
        console.print(
            f"{cost.architecture}, horizon {cost.horizon}: {cost.steps_per_second:,.0f} steps/s",
            highlight=False,
        )

    measurements = measure_all(configs, num_rounds=num_rounds, on_cost=show)
    files = write_costs(results, measurements)
    if as_json:
        print_json(measurements)
        return
    frame = to_frame(measurements.costs)
    print_table(
        "What training costs (limit: one large matrix product on the same thread)",
        costs_table(frame).shown.to_dict("records"),
    )
    if has_several_horizons(frame):
        print_table("How it grows with the horizon", exponents_table(frame).shown.to_dict("records"))
    for file in files:
        if file.suffix in (".json", ".png"):
            click.echo(f"wrote {file}")


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
