"""Options about what carries runs out and how they are looked after."""

import math
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from membench.care import DEFAULT_CARE, Care
from membench.cli.options import toml_value
from membench.engine import EXECUTORS, LOCAL, Engine, ExecutorName
from membench.errors import InputError


class PositiveNumber(click.FloatRange):
    """A finite number above 0; click takes nan and infinity for such numbers, too."""

    def __init__(self):
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number", param, ctx)
        return number


shard_option = click.option(
    "--shard", metavar="I/N", help="Do the I-th of N parts of the runs; other programs do the others."
)


def care_options(command: Callable) -> Callable:
    """Give a command the options about how runs are looked after, as one argument `care`."""

    @wraps(command)
    def collect(*, checkpoint_seconds: float, stall_seconds: float, **parameters: Any) -> Any:
        care = Care(checkpoint_seconds=checkpoint_seconds, stall_seconds=stall_seconds)
        return command(care=care, **parameters)

    for name, default, text in (
        ("--stall-seconds", DEFAULT_CARE.stall_seconds, "Replace a process that takes no step for so long."),
        ("--checkpoint-seconds", DEFAULT_CARE.checkpoint_seconds, "Save every run under way so often."),
    ):
        option = click.option(
            name, type=PositiveNumber(), metavar="S", default=default, show_default=True, help=text
        )
        collect = option(collect)
    return collect


ENGINE_OPTIONS = (
    click.option(
        "--slurm",
        multiple=True,
        metavar="KEY=VALUE",
        help="Ask this of Slurm, by submitit's names, as in partition=gpu, time=120, gpus_per_node=1; "
        "folder=DIR is where submitit keeps its files.",
    ),
    click.option(
        "--ray-gpus",
        type=PositiveNumber(),
        metavar="SHARE",
        help="Share of a GPU that a run on a CUDA device asks of Ray.  [default: 1]",
    ),
    click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="The running Ray cluster.  [default: RAY_ADDRESS, or the one that runs here]",
    ),
    click.option(
        "--executor",
        type=click.Choice(EXECUTORS),
        default=LOCAL.executor,
        show_default=True,
        help="What carries the runs out.",
    ),
    click.option(
        "--jobs",
        "num_jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Runs side by side.  [default: one per core; on a cluster, as many as it has room for]",
    ),
)
"""In the opposite order of that in which --help shows them."""


def engine_options(command: Callable) -> Callable:
    """Give a command the options about what carries runs out, as one argument `engine`."""

    @wraps(command)
    def collect(
        *,
        executor: ExecutorName,
        ray_address: str | None,
        ray_gpus: float | None,
        slurm: tuple[str, ...],
        num_jobs: int | None,
        shard: str | None = None,
        **parameters: Any,
    ) -> Any:
        for name, value, needed in (
            ("--ray-address", ray_address, "ray"),
            ("--ray-gpus", ray_gpus, "ray"),
            ("--slurm", slurm, "slurm"),
        ):
            if value and executor != needed:
                raise InputError(f"{name}: is for --executor {needed} (got {executor})")
        engine = Engine(
            executor=executor,
            ray_address=ray_address,
            ray_gpus=LOCAL.ray_gpus if ray_gpus is None else ray_gpus,
            slurm=dict(map(read_slurm_setting, slurm)),
            num_jobs=num_jobs,
            shard=LOCAL.shard if shard is None else read_shard(shard),
        )
        return command(engine=engine, **parameters)

    for option in ENGINE_OPTIONS:
        collect = option(collect)
    return collect


def read_slurm_setting(assignment: str) -> tuple[str, Any]:
    """Return key and value of --slurm KEY=VALUE."""
    key, separator, text = assignment.partition("=")
    if not (key and separator and text):
        raise InputError(f"--slurm {assignment!r}: must be KEY=VALUE, for example partition=gpu")
    return key, toml_value(text)


def read_shard(text: str) -> tuple[int, int]:
    """Return the two numbers of --shard I/N."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise InputError(f"--shard {text!r}: must be I/N with 1 <= I <= N, for example 2/4")
    return int(found[1]), int(found[2])
