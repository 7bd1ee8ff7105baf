"""Suites: a TOML file and the list of `RunConfig`s that it stands for.

    question = "..."                     what the suite answers, in one sentence
    architectures = ["gru", ...]         compared unless --architectures says otherwise
    [settings]                           fields of `RunConfig` for every run
    [memory]  gru = { ... }              options per architecture
    match_parameters = 225_000           choose each memory's hidden_size so that the agent has so many
    [profiles.quick]                     the same again for one profile, and:
    seeds = 3                            seeds 0 ... 2
    [[profiles.quick.cells]]             fields of `RunConfig` per cell, and if need be:
    architectures = ["gru_pmm"]          the only ones that the cell is for
    preset = "doc"                       whose values the cell's own are laid over
    [profiles.quick.grid]                every cell once for each combination of these values:
    "ppo.discount" = [0.9, 0.99]         the field's dotted name, in quotes

A profile's runs are its cells x seeds x architectures. Later layers win over earlier ones: the class's own
settings, what `membench tune` found, suite, profile, a cell's preset, the cell, `--preset`, then the command
line. A preset is a TOML file with a description, `settings` and `memory`; as it states sizes, parameters are
not matched under it.

A suite file may come from anyone: architectures that are not installed, `module:Class`, are code to import,
and are taken from the command line (`--architectures`) alone.
"""

import hashlib
import itertools
import math
import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from membench.catalogue import architecture_table, check_architecture_name
from membench.config import PositiveInt, RunConfig, Settings, build_config, merge, nest
from membench.errors import InputError, unknown_name
from membench.tuning import own_settings
from membench.validation import check_finite, explain

ABOUT_A_CELL = ("architectures", "preset")
"""Keys of a cell that are no fields of `RunConfig`."""

MOST_RUNS = 100_000
"""Of a profile; beyond it is a slip, such as a budget in the place of seeds."""


class Layer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fields of `RunConfig`, some for all runs and some per architecture."""

    settings: dict[str, Any] = {}
    memory: dict[str, dict[str, Any]] = {}
    """Architecture -> options."""
    match_parameters: PositiveInt | None = None
    """Choose every memory's sizes so that the agent has so many parameters (`membench.sizing`)."""

    def settings_for(self, architecture: str) -> Settings:
        """Return this layer's settings for runs of `architecture`."""
        options = self.memory.get(architecture, {})
        return merge(self.settings, {"memory": options} if options else {})


class Preset(Layer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A named set of values to lay over a suite's."""

    description: str


class Profile(Layer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One size of a suite."""

    seeds: PositiveInt
    cells: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    """Fields of `RunConfig`, beside them `architectures` where a cell is not for all, and `preset`."""
    grid: dict[str, Annotated[list[Any], Meta(min_length=1)]] = {}
    """Dotted field -> the values that it takes in turn, in every cell."""

    def all_cells(self) -> list[dict[str, Any]]:
        """Return the cells, each once for every combination of the grid's values."""
        combinations = itertools.product(*self.grid.values())
        points = [
            merge(*(nest(field, value) for field, value in zip(self.grid, values, strict=True)))
            for values in combinations
        ]
        return [merge(cell, point) for cell, point in itertools.product(self.cells, points)]


class Suite(Layer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A question and the runs that answer it, in several sizes."""

    question: str
    architectures: Annotated[list[str], Meta(min_length=1)]
    profiles: Annotated[dict[str, Profile], Meta(min_length=1)]


def list_suites() -> list[str]:
    """Return the names of the suites that come with membench."""
    return _names(files("suites"))


def list_presets() -> list[str]:
    """Return the names of the presets that come with membench."""
    return _names(files("suites") / "presets")


def load_suite(name_or_path: str) -> Suite:
    """Read a suite by name, or a file of one's own by its path.

    Raises:
        InputError: naming the file, the key and what is legal.
    """
    if name_or_path.endswith(".toml"):
        return _read(Path(name_or_path), Suite)
    if name_or_path not in list_suites():
        raise unknown_name("--suite", name_or_path, [*list_suites(), "a path ending in .toml"])
    return _read(files("suites") / f"{name_or_path}.toml", Suite)


def load_preset(name: str, source: str = "--preset") -> Preset:
    """Read a preset by name; `source` is what an error message says that the name comes from.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in list_presets():
        raise unknown_name(source, name, list_presets())
    return _read(files("suites") / "presets" / f"{name}.toml", Preset)


def plan_runs(
    suite: Suite,
    profile_name: str,
    *,
    architectures: list[str] | None = None,
    num_seeds: int | None = None,
    preset: Preset | None = None,
    overrides: Settings | None = None,
    num_parameters: int | None = None,
    source: str = "suite",
) -> list[RunConfig]:
    """Return the runs of a profile, cell by cell.

    Args:
        suite: where the runs come from.
        profile_name: one of the suite's profiles.
        architectures: instead of the suite's.
        num_seeds: instead of the profile's: seeds 0 ... num_seeds - 1.
        preset: laid over the suite's settings.
        overrides: laid over everything.
        num_parameters: to match with each memory's width, instead of the suite's number, which is not used
            under a preset or a `hidden_size` of one's own. A cell with a `hidden_size` is never matched.
        source: what error messages call the suite.

    Raises:
        InputError: for an unknown profile or architecture, or settings that are no `RunConfig`.
    """
    if profile_name not in suite.profiles:
        raise unknown_name("--profile", profile_name, suite.profiles)
    profile = suite.profiles[profile_name]
    if architectures is None:
        _refuse_code(suite.architectures, source)
    architectures = architectures or suite.architectures
    for architecture in architectures:
        check_architecture_name(architecture)
    if num_parameters is None and preset is None and "hidden_size" not in (overrides or {}).get("memory", {}):
        num_parameters = profile.match_parameters or suite.match_parameters
    _check_number_of_runs(profile, len(architectures), num_seeds or profile.seeds, source)
    configs = []
    for number, cell in enumerate(profile.all_cells()):
        where = f"{source}, profile {profile_name!r}, cell {number}"
        cell_settings = {name: value for name, value in cell.items() if name not in ABOUT_A_CELL}
        chosen, of_the_cell = _chosen_architectures(cell, suite, where), _chosen_preset(cell, where)
        in_cell = [name for name in architectures if chosen is None or name in chosen]
        for seed, architecture in itertools.product(range(num_seeds or profile.seeds), in_cell):
            config = build_config(
                merge(
                    own_settings(architecture),
                    *(layer.settings_for(architecture) for layer in (suite, profile, of_the_cell) if layer),
                    cell_settings,
                    preset.settings_for(architecture) if preset else {},
                    {"architecture": architecture, "seed": seed},
                    overrides or {},
                ),
                source=where,
            )
            is_sized = of_the_cell or "hidden_size" in cell_settings.get("memory", {})
            configs.append(config if is_sized else _matched(config, num_parameters))
    return list({config.run_id: config for config in configs}.values())  # overrides can make cells the same


def suite_digest(suite: Suite, profile_name: str, preset: Preset | None) -> str:
    """Return a digest of what a suite says in one profile, under a preset, about runs.

    The memories and the number of seeds are left out: the command line selects them, and no run is another
    for that.
    """
    profile = msgspec.structs.replace(suite.profiles[profile_name], seeds=1)
    said = [suite.settings, suite.memory, suite.match_parameters, profile, preset]
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:12]


def _check_number_of_runs(profile: Profile, num_architectures: int, num_seeds: int, source: str) -> None:
    points = math.prod(len(values) for values in profile.grid.values())
    if (num_runs := len(profile.cells) * points * num_architectures * num_seeds) > MOST_RUNS:
        raise InputError(
            f"{source}: cells x grid x architectures x seeds is {num_runs:,}: more than {MOST_RUNS:,}"
        )


def _refuse_code(architectures: list[str], source: str) -> None:
    """See that a suite file, which may be a stranger's, does not choose what code is imported.

    Raises:
        InputError: for a memory that is written as `module:Class` and not by a name that is installed.
    """
    for name in architectures:
        if ":" in name and name not in architecture_table():
            raise InputError(
                f"{source}: architecture {name!r}: importing it runs its code, which a suite file must not "
                f"decide; if you trust it, say so: --architectures {','.join(architectures)}"
            )


def _chosen_architectures(cell: dict[str, Any], suite: Suite, where: str) -> list[str] | None:
    """Return the memories that a cell is for; None means all."""
    if "architectures" not in cell:
        return None
    chosen = cell["architectures"]
    if not isinstance(chosen, list) or not chosen:
        legal = ", ".join(suite.architectures)
        raise InputError(f"{where}: architectures {chosen!r}: must be a list of some of {legal}")
    for name in chosen:
        if name not in suite.architectures:
            raise unknown_name(f"{where}: architecture", name, suite.architectures)
    return chosen


def _chosen_preset(cell: dict[str, Any], where: str) -> Preset | None:
    """Return the preset that a cell names; None if it names none."""
    if "preset" not in cell:
        return None
    return load_preset(str(cell["preset"]), f"{where}: preset")


def _matched(config: RunConfig, num_parameters: int | None) -> RunConfig:
    if num_parameters is None:
        return config
    from membench.sizing import match_parameters  # loads PyTorch

    return match_parameters(config, num_parameters)


FileContent = TypeVar("FileContent")


def _read(path: Path | Traversable, schema: type[FileContent]) -> FileContent:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror})") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # TOML's own errors, text that is not UTF-8, endless numbers
        raise InputError(f"{path}: not valid TOML ({error})") from error
    try:
        check_finite(content)
        return msgspec.convert(content, schema)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {explain(error, content, schema)}") from None


def _names(folder: Traversable) -> list[str]:
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )
