"""Laws about shapes, types, devices and storage."""

import io
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from membench.laws.subject import (
    ROWS,
    STEPS,
    Build,
    LawBroken,
    Subject,
    examine,
    leaves,
    name_calls,
    require,
    require_same,
    require_same_state,
    run,
    seeded,
)
from membench.memory import Memory, State, select

SPAN = 40
"""Steps over which numbers must stay finite."""


def state_shape(build: Build) -> None:
    """The state has one entry per row in every leaf, `hidden` [b h] among them, and keeps its shapes."""
    subject = examine(build)
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
    for recording in (True, False):
        with torch.set_grad_enabled(recording):
            _shapes_stay(subject)


def _hidden_is_a_vector(state: State, num_rows: int, usually: str) -> None:
    hidden = state.get("hidden")
    require(isinstance(hidden, Tensor), f"the state has no tensor 'hidden', only {sorted(state)}", usually)
    assert isinstance(hidden, Tensor)
    case = f"initial_state({num_rows})['hidden']"
    require(hidden.dim() == 2, f"{case} has shape {tuple(hidden.shape)}; it must be [b h]", usually)
    require(hidden.is_floating_point(), f"{case} is {hidden.dtype}; it must be real", usually)
    require(not bool(hidden.any()), f"{case} is not zero", "`hidden` must be zeros before the first step")


def _shapes_stay(subject: Subject) -> None:
    memory, first = subject.memory, subject.memory.initial_state(ROWS)
    expected = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves(first).items()}
    size = (memory.output_size,)
    for calls in ([1], [-1], [2], [9], [-9], [STEPS], [3, -2]):
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
        usually = "`hidden` must be the last feature vector"
        require(bool(state["hidden"].any()), f"{case}: state['hidden'] is still zero", usually)
        select(state, torch.tensor([2, 0]))


def device_cleanliness(build: Build) -> None:
    """Everything is computed where the parameters are: tried on `meta`, refusing tensors anywhere else."""
    with seeded(0):
        memory = build().to("meta")
    x = torch.empty(2, 3, memory.input_size, device="meta")
    with _OneDevice(torch.device("meta")):
        for recording in (True, False):
            with torch.set_grad_enabled(recording):
                y, state = memory(x, memory.initial_state(2))
                y, state = memory(x, state)
                y_step, state = memory.step(x[:, 0], state)
            for name, tensor in {"y": y, "step's y": y_step, **leaves(state)}.items():
                case, usually = (
                    f"{name} is on {tensor.device}, not on meta",
                    "a tensor created without a device",
                )
                require(tensor.is_meta, case, usually)
            if recording and y.requires_grad:
                y.sum().backward()


class _OneDevice(TorchDispatchMode):
    """Refuses every argument and result of one or more dimensions on another device.

    The meta device alone would not do: matmul, linear, indexing and copy_ take CPU tensors there silently.
    """

    def __init__(self, device: torch.device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._check(func, "takes", (args, kwargs))
        result = func(*args, **kwargs)
        self._check(func, "gives", result)
        return result

    def _check(self, func: Any, verb: str, values: Any) -> None:
        for leaf in tree_leaves(values):
            if isinstance(leaf, Tensor) and leaf.dim() > 0 and leaf.device.type != self.device.type:
                raise LawBroken(
                    f"{func} {verb} a tensor {tuple(leaf.shape)} on {leaf.device}, not on {self.device}",
                    "a tensor created without device=..., or kept in an attribute where a buffer was meant",
                )


def finite(build: Build) -> None:
    """Outputs, states and gradients are finite, in full precision and under autocast to bfloat16."""
    for precision in (torch.float32, torch.bfloat16):
        with seeded(0):
            memory = build()
        for scale in (0.0, 1.0, 20.0, 100.0):
            x = scale * Subject(memory, torch.float32).inputs(ROWS, SPAN).clamp(-1, 1)
            for calls in ([SPAN], [3, -3, SPAN - 6]):
                _is_finite(memory, x.clone().requires_grad_(), calls, precision, f"inputs of size {scale:g}")


def _is_finite(memory: Memory, x: Tensor, calls: list[int], precision: torch.dtype, inputs: str) -> None:
    usually = (
        "1 - sigmoid or a norm that rounds to zero and is divided by, exp without subtracting the maximum, "
        "products of inputs that no norm bounds, or the norm of a zero vector, whose gradient is infinite"
    )
    case = f"{inputs}, {name_calls(calls)}, {precision}"
    memory.zero_grad()
    first = memory.initial_state(ROWS)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32), warnings.catch_warnings():
        # PyTorch says once per process that a norm was not fused; that is about speed.
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        y, state = run(memory, x, first, calls)
    y.float().square().mean().backward()
    started = leaves(first)
    found = {"outputs": y, "gradient of x": x.grad}
    found |= {f"gradient of {name}": p.grad for name, p in memory.named_parameters()}
    for name, tensor in found.items():
        require(tensor is None or bool(tensor.isfinite().all()), f"{name} not finite, {case}", usually)
    for name, leaf in leaves(state).items():
        # An infinity that the initial state holds, say the maximum over nothing, may stay.
        holds = leaf.isfinite() | (leaf == started[name])
        require(bool(holds.all()), f"{name} not finite, {case}", usually)


@torch.no_grad()
def save_and_load(build: Build) -> None:
    """The state dict, saved and loaded into a fresh memory of other random weights, is the whole memory."""
    subject, other = examine(build, seed=0), examine(build, seed=1)
    file = io.BytesIO()
    torch.save(subject.memory.state_dict(), file)
    file.seek(0)
    other.memory.load_state_dict(torch.load(file, weights_only=True))
    usually = (
        "a random tensor or a layer that is neither parameter, buffer nor submodule, or values computed from "
    )
    usually += "the parameters once, when the memory was built"
    x = subject.inputs(ROWS, 9)
    for calls in ([9], [-9]):
        expected, got = (run(m, x, m.initial_state(ROWS), calls) for m in (subject.memory, other.memory))
        case = f"{name_calls(calls)}, after loading, against before saving"
        require_same(got[0], expected[0], subject.tolerance, case, usually)
        require_same_state(got[1], expected[1], subject.tolerance, case, usually)
