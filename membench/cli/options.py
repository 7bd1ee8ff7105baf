"""Options that several commands share, and how they become settings."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from membench.errors import InputError

if TYPE_CHECKING:
    from membench.config import Settings


def with_options(*options: Callable) -> Callable:
    """Return a decorator that gives a command these options, in this order."""

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

jobs_option = click.option(
    "--jobs",
    "num_jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs side by side.  [default: one per core]",
)
match_option = click.option(
    "--match-parameters",
    "num_parameters",
    type=click.IntRange(min=1),
    metavar="N",
    help="Choose every memory's hidden_size so that the agent has N parameters, within 5 %.",
)
curriculum_option = click.option(
    "--curriculum",
    metavar="H:STEPS,...",
    help="Train at these horizons one after another, for example 5:20000,10:30000,20:50000.",
)


def out_option(default: str) -> Callable:
    """Return the option --out; `default` says in words where results go without it."""
    return click.option(
        "--out", type=click.Path(path_type=Path), metavar="DIR", help=f"Results folder.  [default: {default}]"
    )


def read_overrides(
    assignments: tuple[str, ...], device: str | None = None, curriculum: str | None = None
) -> "Settings":
    """Return the settings of these options; the value in --set FIELD=VALUE is TOML, else a plain string."""
    from membench.config import build_config, merge, nest

    overrides: Settings = merge(
        {} if device is None else {"device": device}, read_curriculum(curriculum) if curriculum else {}
    )
    for assignment in assignments:
        field, separator, text = assignment.partition("=")
        if not separator or not all(field.split(".")):
            raise InputError(f"--set {assignment!r}: must be FIELD=VALUE, for example ppo.learning_rate=3e-4")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        overrides = merge(overrides, nest(field, value))
    build_config(
        merge({"architecture": "gru"}, overrides),
        source="--set" if assignments else "--device" if device else "--curriculum",
    )
    return overrides


def read_curriculum(text: str) -> "Settings":
    """Return the settings of --curriculum HORIZON:STEPS,..."""
    try:
        stages = [tuple(map(int, stage.split(":"))) for stage in text.split(",")]
        curriculum = [{"horizon": horizon, "timesteps": timesteps} for horizon, timesteps in stages]
    except ValueError:
        raise InputError(
            f"--curriculum {text!r}: must be HORIZON:STEPS,..., for example 5:20000,10:30000,20:50000"
        ) from None
    return {
        "curriculum": curriculum,
        "task": {"horizon": curriculum[-1]["horizon"]},
        "total_timesteps": sum(stage["timesteps"] for stage in curriculum),
    }
