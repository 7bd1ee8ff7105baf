"""Architectures by name: the built-in table, installed plugins, or a file of one's own.

An architecture is named in one of three ways: by a line of `architectures.ARCHITECTURES`, by an entry
point in the group `membench.architectures`, or as `package.module:Class` (the working directory is
searched too). Nothing is imported until a class is asked for.
"""

import importlib
import inspect
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from architectures import ARCHITECTURES
from membench.config import Settings
from membench.errors import InputError, unknown_name
from membench.faults import describe_error
from membench.validation import check_finite, explain

if TYPE_CHECKING:
    from membench.memory import Memory


def architecture_table() -> dict[str, str]:
    """Return name -> `module:Class` of every architecture that has a name, built-in ones first."""
    plugins = {point.name: point.value for point in entry_points(group="membench.architectures")}
    if clash := sorted(ARCHITECTURES.keys() & plugins.keys()):
        raise InputError(f"plugin architecture {clash[0]!r}: a built-in architecture has this name already")
    return ARCHITECTURES | plugins


def check_architecture_name(name: str) -> None:
    """Raise an `InputError` if `name` is neither in the table nor written as `module:Class`."""
    if ":" in name or name in ARCHITECTURES:  # what needs no look at what is installed
        return
    if name not in (table := architecture_table()):
        raise unknown_name("architecture", name, [*table, "package.module:Class"])


@cache
def load_architecture(name: str) -> "type[Memory]":
    """Import and return the class that `name` stands for.

    Raises:
        InputError: if there is none, or it is not a `Memory` with all its methods.
    """
    check_architecture_name(name)
    table = architecture_table()
    module_name, _, class_name = table.get(name, name).partition(":")
    if name not in table and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # for code that was asked for by its place; nothing else is looked for here
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, class_name, None)
    except Exception as error:  # whatever the module does while it is imported
        raise InputError(
            f"architecture {name!r}: cannot import it ({type(error).__name__}: {error})"
        ) from error
    if found is None:
        legal = [
            f"{module_name}:{key}"
            for key, value in vars(module).items()
            if _is_memory(value) and not inspect.isabstract(value)
        ]
        raise unknown_name("architecture", f"{module_name}:{class_name}", legal)
    if not _is_memory(found):
        raise InputError(f"architecture {name!r}: must be a class derived from membench.memory.Memory")
    if missing := sorted(found.__abstractmethods__):
        raise InputError(f"architecture {name!r}: the class has no {' and no '.join(missing)}")
    return found


def _is_memory(value: Any) -> bool:
    from membench.memory import Memory

    return inspect.isclass(value) and issubclass(value, Memory)


def memory_options(name: str) -> dict[str, inspect.Parameter]:
    """Return the options of an architecture: the keyword-only parameters of its class."""
    parameters = inspect.signature(load_architecture(name)).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def check_memory_options(name: str, options: Settings) -> dict[str, Any]:
    """Return `options` converted to the types that the class declares.

    Raises:
        InputError: naming the option and what is legal.
    """
    # TOML has no null: where an option takes None, the word "none" stands for it.
    options = {
        key: None if value == "none" and _takes_none(name, key) else value for key, value in options.items()
    }
    fields = [
        (p.name, Any if p.annotation is inspect.Parameter.empty else p.annotation, p.default)
        for p in memory_options(name).values()
    ]
    schema = msgspec.defstruct("Options", fields, forbid_unknown_fields=True, kw_only=True)
    try:
        check_finite(options)
        converted = msgspec.convert(options, schema)
    except msgspec.ValidationError as error:
        raise InputError(f"memory of {name!r}: {explain(error, options, schema)}") from None
    return {key: getattr(converted, key) for key in options}


def _takes_none(name: str, option: str) -> bool:
    parameter = memory_options(name).get(option)
    return parameter is not None and type(None) in get_args(parameter.annotation)


def build_memory(name: str, input_size: int, options: Settings, *, context_length: int) -> "Memory":
    """Build the memory `name`; one with a cache gets `context_length` unless its options set a longer one.

    Raises:
        InputError: for an unknown name, options that the class does not take or refuses, or an error in it.
    """
    if "context_length" in memory_options(name):
        options = {"context_length": context_length} | options
    options = check_memory_options(name, options)
    if (given := options.get("context_length")) is not None and given < context_length:
        raise InputError(
            f"memory of {name!r}: context_length {given}: must be at least {context_length}, the steps that "
            "it will meet"
        )
    try:
        return load_architecture(name)(input_size=input_size, **options)
    except ValueError as error:
        raise InputError(f"memory of {name!r}: {error}") from error
    except Exception as error:  # sizes that no tensor can have, or a fault of the class
        raise InputError(
            f"memory of {name!r}: cannot be built with {options} ({describe_error(error)})"
        ) from error
