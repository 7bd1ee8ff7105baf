"""The law that the state dict is the whole memory, and that a copy is another memory."""

import copy
import io
from typing import Any, TypeAlias

import torch
from torch import Tensor

from membench.laws.comparing import LawBroken, copied, require_same, require_same_state
from membench.laws.determinism import CIRCUMSTANCES
from membench.laws.subject import ROWS, Build, Subject, examine, name_calls, run
from membench.memory import Memory, State

MODES = ("in eval mode without recording gradients", "without recording gradients", "again")
"""Circumstances, of those of determinism, in which a memory may keep something."""

Results: TypeAlias = dict[str, tuple[Tensor, State]]

USUALLY = (
    "a random tensor or a layer that is neither parameter, buffer nor submodule, values computed from the "
    "parameters once and kept, or something that all memories of the class share"
)


def save_and_load(build: Build) -> None:
    """The state dict, saved and loaded into a memory of other random weights, is the whole memory.

    That other memory has been in use before, and a copy of it goes its own way.
    """
    subject = examine(build, seed=0)
    saved, expected = _saved(subject), _results(subject)
    other = examine(build, seed=1)
    others = _results(other)  # in use, then, before anything is loaded
    duplicate = Subject(_copied(other), other.dtype)
    _load(duplicate, saved)
    _agree(duplicate, expected, "a deepcopy into which other weights were loaded, against these weights")
    _agree(other, others, "after other weights were loaded into a deepcopy, against before")
    _load(other, saved)
    _agree(other, expected, "after loading, against before saving")


def _copied(subject: Subject) -> Memory:
    try:
        return copy.deepcopy(subject.memory)
    except Exception as error:
        raise LawBroken(
            f"copy.deepcopy of the memory, after calls: {type(error).__name__}: {error}",
            "an attribute holds a tensor with its graph, or an open file, lock or generator",
        ) from error


def _saved(subject: Subject) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(subject.memory.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def _load(subject: Subject, state_dict: dict[str, Any]) -> None:
    try:
        subject.memory.load_state_dict(state_dict)
    except Exception as error:
        raise LawBroken(
            f"loading the state dict into another memory of the same class: {error}",
            "a parameter or buffer that is made by calling, or whose shape depends on calls",
        ) from error


def _agree(got: Subject, expected: Results, case: str) -> None:
    """Raise `LawBroken` unless a memory computes in every mode what was expected."""
    for where, (y, state) in _results(got).items():
        expected_y, expected_state = expected[where]
        require_same(y, expected_y, got.tolerance, f"{where}, {case}", USUALLY)
        require_same_state(state, expected_state, got.tolerance, f"{where}, {case}", USUALLY)


def _results(subject: Subject) -> Results:
    """Return what calls give, by the calls and the mode that they are made in."""
    memory, x, results = subject.memory, subject.inputs(ROWS, 5), {}
    for mode in MODES:
        for calls in ([5], [-5]):
            with CIRCUMSTANCES[mode](subject):
                y, state = run(memory, x, memory.initial_state(ROWS), calls)
            results[f"{name_calls(calls)}, called {mode}"] = y.detach().clone(), copied(state)
    return results
