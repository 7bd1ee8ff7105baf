"""What laws say when they do not hold, and comparisons that tell where two things differ.

Axes: b row, t step, i input feature, o output feature.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from membench.faults import describe_error
from membench.memory import State, map_state


class LawBroken(Exception):  # noqa: N818, for it says what happened
    """A law that does not hold.

    Attributes:
        case: the smallest case that failed.
        usually: what such a failure usually means.
    """

    def __init__(self, case: str, usually: str):
        super().__init__(f"{case}. Usually: {usually}.")
        self.case, self.usually = case, usually


ERROR = (
    "an error in the memory itself, a batch size, a number of steps, a type, a layout or a mode that it does "
    "not expect, or something written in place that a backward pass needs"
)


@contextmanager
def trying(case: str, usually: str = ERROR) -> Iterator[None]:
    """Turn any error into a broken law that names `case` and the line of the memory."""
    try:
        yield
    except LawBroken:
        raise
    except Exception as error:
        raise LawBroken(f"{case}: {describe_error(error)}", usually) from error


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
            "a counter, list or tuple kept in the state; every leaf must be a tensor with one entry per row. "
            "Put a dict instead of a list or tuple, a tensor [b] instead of a counter",
        )
    inner = [leaves(value, f"{path}[{key!r}]") for key, value in state.items()]
    return {name: leaf for part in inner for name, leaf in part.items()}


def copied(state: State) -> State:
    """Return a state of the same values that shares no storage with `state`."""
    return map_state(lambda leaf: leaf.detach().clone(), state)


def joined(*states: State) -> State:
    """Return the state whose rows are those of `states`, one after another."""
    return map_state(lambda *rows: torch.cat(rows), *states)


def identical(got: Tensor, expected: Tensor) -> bool:
    """Whether all values are the same; NaN counts as the same as NaN."""
    got = got.detach()
    same = (got == expected) | (got.isnan() & expected.isnan())
    return got.shape == expected.shape and bool(same.all())


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
    widest = torch.complex128 if expected.is_complex() else torch.float64
    got, expected = got.to(widest), expected.to(widest)
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
