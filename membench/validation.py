"""Mistakes in settings, said so that whoever typed them finds them: which key, what it got, what is legal."""

import math
import re
import textwrap
from typing import Any

import msgspec

from membench.errors import shown, unknown_name

DEEPEST = 16
"""Levels of dicts and lists that settings may have."""

LONGEST_COMPLAINT = 200
"""Characters of what msgspec says, which repeats long values."""


def check_finite(value: Any, path: str = "$", levels: int = DEEPEST) -> None:
    """Raise a `msgspec.ValidationError` if a number in nested `value` is infinite or not a number.

    And if `value` is nested more deeply than settings ever are, so that nothing that walks through it fails.
    """
    if levels < 0:
        raise msgspec.ValidationError(f"Expected at most {DEEPEST} levels - at `{path}`")
    if isinstance(value, float) and not math.isfinite(value):
        raise msgspec.ValidationError(f"Expected a finite number - at `{path}`")
    if isinstance(value, dict):
        for key, inner in value.items():
            check_finite(inner, f"{path}.{key}", levels - 1)
    if isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            check_finite(inner, f"{path}[{index}]", levels - 1)


def explain(error: msgspec.ValidationError, settings: Any, schema: Any) -> str:
    """Return msgspec's complaint about `settings` as a sentence: which key, what it got, what is legal."""
    match = re.fullmatch(r"(?P<complaint>.*?)(?: - at `(?P<path>[^`]*)`)?", str(error), re.DOTALL)
    assert match is not None
    complaint = textwrap.shorten(match["complaint"], LONGEST_COMPLAINT, placeholder="…")
    keys, value, info = _follow(match["path"] or "$", settings, schema)
    path = ".".join(keys)
    if unknown := re.search(r"unknown field `(.*)`", complaint):
        fields = info.fields if isinstance(info, msgspec.inspect.StructType) else ()
        legal = [field.encode_name for field in fields]
        return str(unknown_name(f"key in {path}" if path else "key", unknown[1], legal))
    if isinstance(info, msgspec.inspect.LiteralType):
        return str(unknown_name(path, str(value), map(str, info.values)))
    if isinstance(info, msgspec.inspect.Metadata):  # a pattern, described in words
        complaint = f"must be {(info.extra_json_schema or {})['description']}"
    got = f" (got {shown(value)})" if value is not None and not isinstance(value, dict) else ""
    return f"{path}: {complaint}{got}" if path else complaint


def _follow(path: str, value: Any, schema: Any) -> tuple[list[str], Any, msgspec.inspect.Type | None]:
    """Follow msgspec's path to a fault: the keys on the way, the value there, and the type legal there."""
    info, keys = msgspec.inspect.type_info(schema), []
    for key in re.findall(r"[^.\[\]]+|\.\.\.", path.removeprefix("$")):
        if isinstance(info, msgspec.inspect.StructType):
            info = next((field.type for field in info.fields if field.encode_name == key), None)
        elif isinstance(info, msgspec.inspect.DictType | msgspec.inspect.ListType):
            info = info.value_type if isinstance(info, msgspec.inspect.DictType) else info.item_type
        if key == "..." and isinstance(value, dict):  # msgspec does not say which entry of a dict is wrong
            key = next((name for name, entry in value.items() if not _is_valid(entry, info)), key)
        keys.append(key)
        value = value.get(key) if isinstance(value, dict) else _item(value, key)
    return keys, value, info


def _item(value: Any, key: str) -> Any:
    return value[int(key)] if isinstance(value, list | tuple) and key.isdigit() else None


def _is_valid(value: Any, info: msgspec.inspect.Type | None) -> bool:
    if not isinstance(info, msgspec.inspect.StructType):
        return False
    try:
        msgspec.convert(value, info.cls)
    except msgspec.ValidationError:
        return False
    return True
