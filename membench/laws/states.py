"""The law about shapes: of the state, of outputs, and of what a trace records."""

import torch
from torch import Tensor

from membench.laws.comparing import identical, leaves, require
from membench.laws.subject import ROWS, STEPS, Build, Subject, examine, name_calls, run
from membench.memory import State, Trace, select

TRACED = {"hidden": 3, "memory": 4, "attention.read": 4, "attention.write": 4}
"""Dimensions of what a trace records under the names in use."""


def state_shape(build: Build) -> None:
    """The state has one entry per row in every leaf, `hidden` [b h] among them, and keeps its shapes."""
    subject = examine(build)
    _rows_come_first(subject)
    for recording, longest in ((True, 9), (False, STEPS)):
        with torch.set_grad_enabled(recording):
            _shapes_stay(subject, longest)
    _hidden_follows_the_inputs(subject)
    _traces_have_shapes(subject)


def _rows_come_first(subject: Subject) -> None:
    usually = "batch is not the first axis of every leaf, or `hidden` is missing or not a vector per row"
    shapes = {}
    for num_rows in (1, 2, 5):
        state = subject.memory.initial_state(num_rows)
        require(isinstance(state, dict), f"the state is of type {type(state).__name__}, not dict", usually)
        for name, leaf in leaves(state).items():
            case = f"initial_state({num_rows}): {name} has shape {tuple(leaf.shape)}"
            require(
                leaf.dim() > 0 and len(leaf) == num_rows, f"{case}; its first axis must be the rows", usually
            )
            per_row = shapes.setdefault(name, leaf.shape[1:])
            require(leaf.shape[1:] == per_row, f"{case}, with one row (1, {tuple(per_row)})", usually)
        _hidden_is_a_vector(state, num_rows, usually)


def _hidden_is_a_vector(state: State, num_rows: int, usually: str) -> None:
    hidden = state.get("hidden")
    require(isinstance(hidden, Tensor), f"the state has no tensor 'hidden', only {sorted(state)}", usually)
    assert isinstance(hidden, Tensor)
    case = f"initial_state({num_rows})['hidden']"
    require(hidden.dim() == 2, f"{case} has shape {tuple(hidden.shape)}; it must be [b h]", usually)
    require(hidden.is_floating_point(), f"{case} is {hidden.dtype}; it must be real", usually)
    usually = "`hidden` must be zeros before the first step; a learned start belongs under another key"
    require(not bool(hidden.any()), f"{case} is not zero", usually)


def _shapes_stay(subject: Subject, longest: int) -> None:
    memory, first = subject.memory, subject.memory.initial_state(ROWS)
    expected = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves(first).items()}
    size = (memory.output_size,)
    for calls in ([1], [-1], [2], [-9], [longest], [3, -2]):
        num_steps = sum(map(abs, calls))
        y, state = run(memory, subject.inputs(ROWS, num_steps), memory.initial_state(ROWS), calls)
        case, usually = f"{name_calls(calls)}", "`output_size` is not what the last layer gives"
        require(y.shape == (ROWS, num_steps, *size), f"{case}: outputs have shape {tuple(y.shape)}", usually)
        usually = (
            "a list of past inputs that is concatenated to, or a leaf that a first call creates or converts"
        )
        got = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves(state).items()}
        require(
            got.keys() == expected.keys(), f"{case}: leaves {sorted(got)}, before {sorted(expected)}", usually
        )
        for name, (shape, dtype) in expected.items():
            found = f"{case}: {name} is {tuple(got[name][0])} {got[name][1]}, before {tuple(shape)} {dtype}"
            require(got[name] == (shape, dtype), found, usually)
        select(state, torch.tensor([2, 0]))


@torch.no_grad()
def _hidden_follows_the_inputs(subject: Subject) -> None:
    memory, hidden = subject.memory, []
    usually = "`hidden` must be the last feature vector"
    for seed in (0, 1):
        for calls in ([1], [-1], [9]):
            x = subject.inputs(ROWS, abs(calls[0]), seed)
            _, state = run(memory, x, memory.initial_state(ROWS), calls)
            case = f"{name_calls(calls)}: state['hidden'] is still zero"
            require(bool(state["hidden"].any()), case, usually)
        hidden.append(state["hidden"])
    case = f"{name_calls([9])}: state['hidden'] is the same after other inputs"
    require(not identical(*hidden), case, usually)


def _traces_have_shapes(subject: Subject) -> None:
    trace, num_steps = Trace(), 5
    subject.memory(subject.inputs(ROWS, num_steps), subject.memory.initial_state(ROWS), trace=trace)
    usually = "what is recorded has no axis of rows or none of steps, or they stand in another order"
    for name in trace.keys() & TRACED.keys():
        for tensor in trace[name]:
            holds = tensor.dim() == TRACED[name] and tensor.shape[:2] == (ROWS, num_steps)
            case = f"trace {name!r} of {ROWS} rows over {num_steps} steps has shape {tuple(tensor.shape)}"
            require(holds, f"{case}; it must have {TRACED[name]} axes, rows and steps first", usually)
