"""The law about precision: numbers stay finite, and calls agree in bfloat16 as far as it goes."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from membench.laws.comparing import LawBroken, leaves, require
from membench.laws.subject import ROWS, Build, Subject, name_calls, name_mode, run, seeded, weighted_sum
from membench.memory import Memory, State

SPAN = 34
"""Steps over which numbers must stay finite."""

SCALES = (0.0, 1.0, 20.0, 100.0)
"""Sizes of inputs with which they must."""

FEW = 6
"""Steps over which calls under autocast are compared with one another."""

SIMILAR = 0.2
"""Largest mean difference between them, relative to the outputs. Rounding makes 0.06, a lost state 0.5."""


def finite(build: Build) -> None:
    """Outputs, states and gradients are finite, in full precision and under autocast to bfloat16.

    In full precision nothing is wider than the parameters. Under autocast, outputs are the same but for
    rounding, and a leaf of the state is of the same type, whatever the calls.
    """
    with seeded(0):
        _widens_nothing(build())
    for precision in (torch.float32, torch.bfloat16):
        with seeded(0):
            memory = build()
        for recording in (True, False):
            for calls in ([SPAN], [3, -3, SPAN - 6]):
                _Trial(memory, tuple(calls), precision, recording).stays_finite()
    _types_settle(memory)
    _calls_agree_under_autocast(memory)


@torch.no_grad()
def _widens_nothing(memory: Memory) -> None:
    """In float32, outputs and the leaves of states are of no more bits."""
    first = memory.initial_state(ROWS)
    found = {"initial_state": leaves(first)}
    for calls in ([1], [-1], [2]):
        y, state = run(
            memory, Subject(memory, torch.float32).inputs(ROWS, sum(map(abs, calls))), first, calls
        )
        found[name_calls(calls)] = {"the output": y, **leaves(state)}
    usually = (
        "a tensor made with dtype=torch.float64, by .double() or from NumPy, which widens all that it meets: "
        "twice the memory and the time, and not every device has it"
    )
    for case, tensors in found.items():
        for name, tensor in tensors.items():
            is_wide = tensor.dtype in (torch.float64, torch.complex128)
            require(not is_wide, f"{case}: {name} is {tensor.dtype}, of a memory in float32", usually)


def _inputs(memory: Memory, num_steps: int) -> Tensor:
    """Return inputs [b t i] of size 1: those of other laws, one whose features are all the same, a cue."""
    kinds = Subject(memory, torch.float32).inputs(ROWS, num_steps).clamp(-1, 1)
    same, cue = torch.ones_like(kinds[:1]), torch.zeros_like(kinds[:1])
    cue[..., 0] = 1.0
    return torch.cat([kinds, same, cue])


@contextmanager
def _computing_in(precision: torch.dtype) -> Iterator[None]:
    with torch.autocast("cpu", precision, enabled=precision != torch.float32), warnings.catch_warnings():
        # PyTorch says once per process that a norm was not fused; that is about speed.
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        yield


@dataclass(frozen=True)
class _Trial:
    """Calls in some precision, whose every number must be finite."""

    memory: Memory
    calls: tuple[int, ...]
    precision: torch.dtype
    recording: bool

    def stays_finite(self) -> None:
        """Raise `LawBroken`, with the smallest inputs for which they are not; try all sizes at once first."""
        if not self._not_finite(SCALES):
            return
        for scales in (*((scale,) for scale in SCALES), SCALES):
            if names := self._not_finite(scales):
                sizes = ", ".join(f"{scale:g}" for scale in scales)
                raise LawBroken(
                    f"{names[0]} not finite, inputs of size {sizes}, {name_calls(self.calls)}, "
                    f"{self.precision}, {name_mode(self.recording)}",
                    "1 - sigmoid or a norm that rounds to zero and is divided by, exp without subtracting "
                    "the maximum, products of inputs that no norm bounds, or the norm of a zero vector, "
                    "whose gradient is infinite",
                )

    def _not_finite(self, scales: tuple[float, ...]) -> list[str]:
        """Return the names of what is not finite for rows of inputs of these sizes."""
        kinds = _inputs(self.memory, SPAN)
        x = torch.cat([scale * kinds for scale in scales]).requires_grad_(self.recording)
        self.memory.zero_grad()
        with torch.set_grad_enabled(self.recording):
            first = self.memory.initial_state(len(x))
            with _computing_in(self.precision):
                y, state = run(self.memory, x, first, self.calls)
        if y.requires_grad:
            y.float().square().mean().backward()
        found = {"outputs": y, "gradient of the input x": x.grad}
        found |= {f"gradient of the parameter {name!r}": p.grad for name, p in self.memory.named_parameters()}
        names = [name for name, tensor in found.items() if tensor is not None and not _is_finite(tensor)]
        return names + self._leaves_not_finite(state, first)

    @staticmethod
    def _leaves_not_finite(state: State, first: State) -> list[str]:
        # An infinity that the initial state holds, say the maximum over nothing, may stay.
        started = leaves(first)
        return [
            name
            for name, leaf in leaves(state).items()
            if not bool((leaf.isfinite() | (leaf == started[name])).all())
        ]


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


@torch.no_grad()
def _types_settle(memory: Memory) -> None:
    """Under autocast the first call may change the type of a leaf, the same way whatever the call."""
    types = {}
    x = Subject(memory, torch.float32).inputs(ROWS, 4)
    for calls in ([1], [-1], [4], [2, -2], [-2, 2]):
        with _computing_in(torch.bfloat16):
            _, state = run(memory, x[:, : sum(map(abs, calls))], memory.initial_state(ROWS), calls)
        for name, leaf in leaves(state).items():
            expected = types.setdefault(name, leaf.dtype)
            case = (
                f"{name} is {leaf.dtype} after {name_calls(calls)} under autocast, {expected} after another"
            )
            usually = "a leaf that one path converts to the state's type and another does not"
            require(leaf.dtype == expected, f"{case} call", usually)


def _calls_agree_under_autocast(memory: Memory) -> None:
    """Any split into calls comes to the same but for rounding, and gradients reach the first step."""
    expected = _outputs_and_gradient(memory, [FEW])[0]
    usually = "under autocast another path is taken, which loses the state or the gradient"
    for calls in ([FEW], [2, FEW - 2], [-FEW]):
        y, gradient = _outputs_and_gradient(memory, calls)
        case = f"{name_calls(calls)} under autocast"
        difference = float((y - expected).abs().mean() / (expected.abs().mean() + 1e-6))
        what = f"outputs differ by {difference:.0%} on average from those of one forward over {FEW}"
        require(difference <= SIMILAR, f"{case}: {what}", usually)
        source = 0 if memory.remembers else FEW - 1
        case = f"the output at step {FEW - 1} has no gradient at the input of step {source}, {case}"
        require(bool(gradient[:, source].any()), case, usually)


def _outputs_and_gradient(memory: Memory, calls: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return outputs under autocast, and the gradient at the inputs of a weighted sum of the last ones."""
    x = _inputs(memory, FEW).requires_grad_()
    with _computing_in(torch.bfloat16):
        y, _ = run(memory, x, memory.initial_state(len(x)), calls)
    y = y.float()
    if not y.requires_grad:
        return y, torch.zeros_like(x)
    return y.detach(), torch.autograd.grad(weighted_sum(y[:, -1]), x)[0]
