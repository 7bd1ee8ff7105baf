"""Options that several commands share, and how they become settings."""

import os
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from membench.cli.printing import keeping_stdout_for_json
from membench.errors import InputError

if TYPE_CHECKING:
    from membench.config import RunConfig, Settings
    from membench.suite import Preset


class NamedPath(click.Path):
    """A path that is not empty: an empty one, as of an unset variable, would be the working directory."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path."""
        if value == "":
            self.fail("must not be empty", param, ctx)
        return super().convert(value, param, ctx)


preset_option = click.option(
    "--preset", metavar="NAME", help="Lay a preset over the settings (membench list presets)."
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Set any field of the configuration that no other option sets, for example ppo.learning_rate=3e-4; "
    "wins over everything.",
)
memory_set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="memory.OPTION=VALUE",
    help="Build the memory with this option of its own, for example memory.num_layers=1.",
)
device_option = click.option("--device", metavar="cpu|cuda[:N]", help="Where to train.  [default: cpu]")
refresh_option = click.option("--refresh", is_flag=True, help="Do again what is there already.")
match_option = click.option(
    "--match-parameters",
    "num_parameters",
    type=click.IntRange(min=1),
    metavar="N",
    help="Choose every memory's sizes so that the agent has N parameters, within 5 %.",
)
curriculum_option = click.option(
    "--curriculum",
    metavar="H:STEPS,...",
    help="Train at these horizons one after another, for example 5:20000,10:30000,20:50000.",
)


def json_option(command: Callable) -> Callable:
    """Give a command the option --json, as the argument `as_json`; with it, all else goes to stderr."""

    @wraps(command)
    def collect(*, as_json: bool, **parameters: Any) -> Any:
        with keeping_stdout_for_json() if as_json else nullcontext():
            return command(as_json=as_json, **parameters)

    option = click.option(
        "--json", "as_json", is_flag=True, help="Print JSON on standard output, and only that."
    )
    return option(collect)


def out_option(default: str) -> Callable:
    """Return the option --out; `default` says in words where results go without it."""
    return click.option(
        "--out", type=NamedPath(path_type=Path), metavar="DIR", help=f"Results folder.  [default: {default}]"
    )


FIELDS = {
    "architecture": "architecture",
    "architectures": "architecture",
    "horizon": "task.horizon",
    "horizons": "task.horizon",
    "seed": "seed",
    "num_seeds": "seed",
    "steps_per_iteration": "ppo.num_envs",
    "total_timesteps": "total_timesteps",
    "device": "device",
    "curriculum": "curriculum",
    "num_parameters": "matched_parameters",
}
"""Parameter of a command -> the field that it decides, which --set must then leave alone."""


@dataclass(frozen=True)
class Given:
    """What a command was given by the options about settings; one that it does not have keeps its default.

    `decided` maps the fields that the command has other options or arguments for to those, as they are typed.
    """

    preset: str | None = None
    assignments: tuple[str, ...] = ()
    device: str | None = None
    curriculum: str | None = None
    num_parameters: int | None = None
    decided: dict[str, str] = field(default_factory=dict)

    def load_preset(self) -> "Preset | None":
        """Return the preset, if one was named."""
        from membench.suite import load_preset

        return None if self.preset is None else load_preset(self.preset)

    def overrides(self) -> "Settings":
        """Return the settings that win over everything; the value in --set FIELD=VALUE is TOML, else text.

        Raises:
            InputError: for settings that are none, and for a field that another option decides.
        """
        from membench.config import build_config, flatten, merge

        assigned = merge(*map(read_assignment, self.assignments))
        for name in flatten(assigned):
            if name in self.decided:
                raise InputError(f"--set {name}: is decided by {self.decided[name]} here; set it there")
        layers = {
            "--device": {} if self.device is None else {"device": self.device},
            "--curriculum": {} if self.curriculum is None else read_curriculum(self.curriculum),
            "--set": assigned,
        }
        overrides = {}
        for source, layer in layers.items():
            overrides = merge(overrides, layer)
            build_config(merge({"architecture": "gru"}, overrides), source=source)
        width = overrides.get("memory", {}).get("hidden_size")
        if self.num_parameters is not None and width is not None:
            raise InputError(
                f"--match-parameters {self.num_parameters}: chooses the memory's width, and "
                f"--set memory.hidden_size={width} has chosen it already; give one of them"
            )
        return overrides

    def states_no_size(self) -> bool:
        """Return whether the memories' widths are left open."""
        has_width = "hidden_size" in self.overrides().get("memory", {})
        return self.num_parameters is None and self.preset is None and not has_width

    def config(self, architecture: str, flags: "Settings") -> "RunConfig":
        """Return the configuration of a single agent; `flags` win over the preset, overrides over both.

        Raises:
            InputError: for settings that are none, and for a flag that a curriculum decides.
        """
        from membench.config import build_config, flatten, merge
        from membench.sizing import match_parameters
        from membench.tuning import own_settings

        of_curriculum = flatten(read_curriculum(self.curriculum)) if self.curriculum else {}
        for name in flatten(flags):
            if name in of_curriculum:
                raise InputError(
                    f"{self.decided[name]}: is decided by --curriculum, whose last stage is the task's "
                    "horizon and whose steps are the budget; give one of them"
                )
        preset = self.load_preset()
        config = build_config(
            merge(
                own_settings(architecture),
                preset.settings_for(architecture) if preset else {},
                {"architecture": architecture},
                flags,
                self.overrides(),
            )
        )
        return match_parameters(config, self.num_parameters) if self.num_parameters else config


def settings_options(*options: Callable) -> Callable:
    """Return a decorator that gives a command these options about settings, as one argument `given`."""

    def decorate(command: Callable) -> Callable:
        @wraps(command)
        def collect(**parameters: Any) -> Any:
            typed = {param.name: param for param in click.get_current_context().command.params}
            decided = {FIELDS[name]: how_typed(typed[name]) for name in FIELDS.keys() & parameters.keys()}
            names = [field.name for field in fields(Given) if field.name in parameters]
            given = Given(**{name: parameters.pop(name) for name in names}, decided=decided)
            return command(given=given, **parameters)

        for option in reversed(options):
            collect = option(collect)
        return collect

    return decorate


def how_typed(parameter: click.Parameter) -> str:
    """Return what an option or argument is called in the help."""
    return parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name


def read_assignment(assignment: str) -> "Settings":
    """Return the settings of --set FIELD=VALUE."""
    from membench.config import nest

    field, separator, text = assignment.partition("=")
    if not separator or not all(field.split(".")):
        raise InputError(f"--set {assignment!r}: must be FIELD=VALUE, for example ppo.learning_rate=3e-4")
    return nest(field, toml_value(text))


def toml_value(text: str) -> Any:
    """Return what a text says in TOML, or the text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def read_horizons(text: str) -> list[int]:
    """Return the numbers of --horizons N,N,..."""
    if not all(horizon.isdecimal() for horizon in text.split(",")):
        raise InputError(f"--horizons {text!r}: must be numbers with commas between them, as in 20,100")
    return [int(horizon) for horizon in text.split(",")]


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
