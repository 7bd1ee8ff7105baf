"""The part of purity about what calls leave behind: in the process, in flags, in attributes of the memory."""

from collections import deque
from collections.abc import Callable, ValuesView
from typing import Any

import torch
from torch import Tensor

from membench.laws.comparing import require
from membench.laws.subject import ROWS, Build, Subject, name_mode, run
from membench.laws.surroundings import read_generators, read_settings, stir_generators
from membench.memory import Memory

PROCESS = "a call of torch.manual_seed, torch.set_..., eval(), requires_grad_() or backward() in the memory"

COLLECTIONS = (list, tuple, set, deque, ValuesView)
"""Where an attribute may hold more and more values."""


def process_is_left_alone(build: Build) -> None:
    """Neither building nor calling a memory changes the process or flags of the memory; `LawBroken` if so."""
    _building_seeds_nothing(build)
    for recording in (False, True):
        with torch.set_grad_enabled(recording):
            _calls_set_nothing(build, name_mode(recording))


def _building_seeds_nothing(build: Build) -> None:
    """Random numbers stand elsewhere after the memory is built, depending on where they stood before."""
    settings, generators = read_settings(), []
    for _ in range(2):
        stir_generators()
        build()
        generators.append(read_generators())
    changed = [name for name, value in read_settings().items() if value != settings[name]]
    changed += [
        f"{name}, to the same always" for name in generators[0] if generators[0][name] == generators[1][name]
    ]
    require(not changed, f"building the memory changes {', '.join(changed)}", PROCESS)


def _calls_set_nothing(build: Build, mode: str) -> None:
    """Calls change no setting of the process, and neither modes nor flags of the memory."""
    calls: dict[str, Callable[[Memory, Tensor], Any]] = {
        "initial_state": lambda memory, x: memory.initial_state(ROWS),
        "forward": lambda memory, x: memory(x, memory.initial_state(ROWS)),
        "step": lambda memory, x: memory.step(x[:, 0], memory.initial_state(ROWS)),
    }
    for name, call in calls.items():
        memory = build()  # a fresh one, so that it is this call that changes something
        x = Subject(memory, torch.float32).inputs(ROWS, 5)
        stir_generators()
        expected = read_settings() | read_generators() | _flags(memory)
        call(memory, x)
        found = read_settings() | read_generators() | _flags(memory)
        changed = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        usually = f"dropout or other randomness in the computation, or {PROCESS}"
        require(not changed, f"{name} changes {', '.join(changed)}, {mode}", usually)


def _flags(memory: Memory) -> dict[str, bool]:
    """Return what is set for every part of a memory."""
    flags = {f"the mode, training or eval, of {name!r}": m.training for name, m in memory.named_modules()}
    for name, parameter in memory.named_parameters():
        flags[f"whether {name!r} is a parameter and trained"] = parameter.requires_grad
        flags[f"whether {name!r} has a gradient"] = parameter.grad is not None
    return flags


def nothing_piles_up(subject: Subject) -> None:
    """The memory holds no more values after many calls than after a few; `LawBroken` if it does."""
    sizes = []
    for _ in range(3):
        for calls in ([3], [-3]):
            run(subject.memory, subject.inputs(ROWS, 3), subject.memory.initial_state(ROWS), calls)
        sizes.append(sum(_num_values(module.__dict__) for module in subject.memory.modules()))
    case = f"values that the memory's attributes hold, after 6, 12 and 18 steps: {sizes}"
    usually = "a list or dict in `self` that every call adds to; an experiment runs out of memory"
    require(sizes[1] == sizes[2], case, usually)


def _num_values(value: Any) -> int:
    """Return how many values there are in a collection or tensor, collections in it searched through."""
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, dict):
        value = value.values()
    return sum(map(_num_values, value)) if isinstance(value, COLLECTIONS) else 1
