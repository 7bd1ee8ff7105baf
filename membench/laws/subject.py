"""What laws are written with: a memory under examination, inputs for it, and telling comparisons.

Axes: b row, t step, i input feature, o output feature.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from membench.memory import Memory, State, map_state

Build: TypeAlias = Callable[[], Memory]
"""Returns a fresh, randomly initialised memory at every call."""

STEPS = 72
"""Steps of the longest case. It crosses the edges of blocks of 16, 32 and 64 steps; a memory with a cache is
examined with one of exactly this `context_length`, so that the last place in it is used too."""

ROWS = 4
"""Rows of most cases: one per kind of input, see `Subject.inputs`."""


class LawBroken(Exception):  # noqa: N818, for it says what happened
    """A law that does not hold.

    Attributes:
        case: the smallest case that failed.
        usually: what such a failure usually means.
    """

    def __init__(self, case: str, usually: str):
        super().__init__(f"{case}. Usually: {usually}.")
        self.case, self.usually = case, usually


@dataclass(frozen=True)
class Subject:
    """A memory under examination: float64 where it can compute in it, float32 otherwise."""

    memory: Memory
    dtype: torch.dtype

    @property
    def tolerance(self) -> float:
        """Largest difference that counts as equal, relative to the larger of 1 and the largest value."""
        return 1e-9 if self.dtype == torch.float64 else 1e-5

    def inputs(self, num_rows: int, num_steps: int, seed: int = 0) -> Tensor:
        """Return inputs [b t i] of four kinds, row by row: random, a cue and then silence, silence, large."""
        random = torch.Generator().manual_seed(seed)
        shape = (num_rows, num_steps, self.memory.input_size)
        x = torch.randn(shape, generator=random, dtype=torch.float64)
        x[1::4, 1:] = 0.0
        x[2::4] = 0.0
        x[3::4] *= 5.0
        return x.to(self.dtype)

    def computes_in_its_dtype(self) -> bool:
        """Whether nothing in the memory raises an error or rounds to fewer bits than `dtype` has."""
        try:
            with torch.no_grad(), _RoundingWatch(self.dtype) as watch:
                _, state = self.memory(self.inputs(2, 3), self.memory.initial_state(2))
                self.memory.step(self.inputs(2, 1)[:, 0], state)
        except Exception:
            return False
        return not watch.has_rounded


def examine(build: Build, seed: int = 0) -> Subject:
    """Build a memory, with its parameters a little perturbed, in the widest type that it computes in.

    Perturbed, because a part that is initialised to zero would hide its faults.
    """
    widest = Subject(_perturbed(build, seed).to(torch.float64), torch.float64)
    if widest.computes_in_its_dtype():
        return widest
    return Subject(_perturbed(build, seed), torch.float32)


def _perturbed(build: Build, seed: int) -> Memory:
    with seeded(seed), torch.no_grad():
        memory = build()
        for parameter in memory.parameters():
            # In proportion, so that a recurrence that was stable stays so; the floor moves zeros.
            scale = max(0.1 * float(parameter.square().mean().sqrt()), 0.01)
            parameter.add_(scale * torch.randn_like(parameter))
    return memory


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's random numbers for a while, and leave them afterwards as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class _RoundingWatch(TorchDispatchMode):
    """Notices results that have fewer bits than a type."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.num_bits, self.has_rounded = torch.finfo(dtype).bits, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.has_rounded |= any(
            leaf.dim() > 0 and leaf.is_floating_point() and torch.finfo(leaf.dtype).bits < self.num_bits
            for leaf in tree_leaves(result)
            if isinstance(leaf, Tensor)
        )
        return result


def run(memory: Memory, x: Tensor, state: State, calls: Sequence[int]) -> tuple[Tensor, State]:
    """Run x [b t i] through successive calls: n stands for `forward` over n steps, -n for n times `step`."""
    outputs, start = [], 0
    for call in calls:
        piece = x[:, start : start + abs(call)]
        start += abs(call)
        if call > 0:
            y, state = memory(piece, state)
            outputs.append(y)
            continue
        for x_t in piece.unbind(1):
            y, state = memory.step(x_t, state)
            outputs.append(y.unsqueeze(1))
    return torch.cat(outputs, dim=1), state


def name_calls(calls: Sequence[int]) -> str:
    """Return a text for people: `forward over 3, then 2 times step`."""
    return ", then ".join(f"forward over {call}" if call > 0 else f"{-call} times step" for call in calls)


def name_mode(recording: bool) -> str:
    """Return a text for people."""
    return "gradients recorded" if recording else "gradients not recorded"


def leaves(state: Any, path: str = "state") -> dict[str, Tensor]:
    """Return path -> tensor of a nested state.

    Raises:
        LawBroken: if a leaf is not a tensor.
    """
    if isinstance(state, Tensor):
        return {path: state}
    if not isinstance(state, dict):
        raise LawBroken(
            f"{path} is of type {type(state).__name__}",
            "a counter or list kept in the state; every leaf must be a tensor with one entry per row",
        )
    inner = [leaves(value, f"{path}[{key!r}]") for key, value in state.items()]
    return {name: leaf for part in inner for name, leaf in part.items()}


def copied(state: State) -> State:
    """Return a state of the same values that shares no storage with `state`."""
    return map_state(lambda leaf: leaf.detach().clone(), state)


def joined(*states: State) -> State:
    """Return the state whose rows are those of `states`, one after another."""
    return map_state(lambda *rows: torch.cat(rows), *states)


def require(holds: bool, case: str, usually: str) -> None:
    """Raise `LawBroken` unless `holds`."""
    if not holds:
        raise LawBroken(case, usually)


def require_same(got: Tensor, expected: Tensor, tolerance: float, case: str, usually: str) -> None:
    """Raise `LawBroken`, saying where two outputs [b t o] or other tensors differ first, if they do."""
    got, expected = got.detach(), expected.detach()
    require(
        got.shape == expected.shape,
        f"{case}: shape {tuple(got.shape)}, expected {tuple(expected.shape)}",
        usually,
    )
    if not got.numel():
        return
    distance = _distance(got, expected)
    if bool((distance <= tolerance).all()):
        return
    largest = f"by up to {float(distance.max()):.2g} (tolerance {tolerance:.0e})"
    where = (distance > tolerance).nonzero()
    if got.dim() == 3:
        row, step, _ = min(where.tolist(), key=lambda index: (index[1], index[0]))
        raise LawBroken(f"{case}: outputs differ from row {row}, step {step} on, {largest}", usually)
    raise LawBroken(f"{case}: values differ at {where[0].tolist()}, {largest}", usually)


def _distance(got: Tensor, expected: Tensor) -> Tensor:
    """Return the difference, relative to the larger of 1 and the largest finite expected value."""
    got, expected = got.double(), expected.double()
    difference = torch.where(got == expected, 0.0, (got - expected).abs()).nan_to_num(nan=torch.inf)
    largest = expected[expected.isfinite()].abs()
    return difference / max(1.0, float(largest.max()) if largest.numel() else 1.0)


def require_same_state(got: State, expected: State, tolerance: float, case: str, usually: str) -> None:
    """Raise `LawBroken`, naming the leaf, if two nested states differ in keys, types, shapes or values."""
    got_leaves, expected_leaves = leaves(got), leaves(expected)
    require(
        got_leaves.keys() == expected_leaves.keys(),
        f"{case}: the state's keys are {sorted(got_leaves)}, expected {sorted(expected_leaves)}",
        usually,
    )
    for name, leaf in expected_leaves.items():
        found = got_leaves[name]
        require(found.dtype == leaf.dtype, f"{case}: {name} is {found.dtype}, expected {leaf.dtype}", usually)
        # As one row of features per row, lest a three-dimensional leaf read as outputs over time.
        found, leaf = (part.reshape(len(part), -1) for part in (found, leaf))
        require_same(found, leaf, tolerance, f"{case}: {name}", usually)
