"""Laws about what outputs depend on: an episode's own past, neither its future nor other episodes."""

import torch
from torch import Tensor

from membench.laws.comparing import copied, joined, require_same, require_same_state, trying
from membench.laws.subject import (
    ROWS,
    STEPS,
    Build,
    Subject,
    examine,
    name_calls,
    name_mode,
    run,
    weighted_sum,
)
from membench.memory import State, select

LENGTHS = (1, 2, 5, 33, 48, 64, 65, STEPS - 1)
"""Steps of calls in which a fault at one length shows, beside those that segmentation tries."""

AGES = (0, 3, 17, 40)
"""Steps that the rows of a mixed batch have behind them."""

MANY_ROWS = 130
"""Rows of a large batch. It crosses the edges of blocks of 32, 64 and 128 rows."""


def causality(build: Build) -> None:
    """Outputs depend on no later input, nor on how many there are; nor do their gradients."""
    subject = examine(build)
    with torch.no_grad():
        _prefixes_agree(subject, 0, LENGTHS, STEPS)
        _prefixes_agree(subject, 3, (1, 5), 17)
    _prefixes_agree(subject, 0, (1, 5, 17), 18)
    _gradients_stay_behind(subject)


def _prefixes_agree(subject: Subject, age: int, cuts: tuple[int, ...], num_steps: int) -> None:
    memory, state = subject.memory, copied(subject.aged(age))
    x, other = subject.inputs(ROWS, num_steps), subject.inputs(ROWS, num_steps, seed=1).flip(0)
    whole, _ = run(memory, x, state, [num_steps])
    usually = "a layer or a statistic looks at steps to come: a missing mask, a shift, a mean over time"
    mode = f"after {age} steps, {name_mode(torch.is_grad_enabled())}"
    for cut in cuts:
        prefix, _ = run(memory, x[:, :cut], state, [cut])
        case = f"outputs of the first {cut} of {num_steps} steps against those of these steps alone, {mode}"
        require_same(prefix, whole[:, :cut], subject.tolerance, case, usually)
    cut = min(33, num_steps - 1)
    altered = torch.cat([x[:, :cut], other[:, cut:]], dim=1)
    y, _ = run(memory, altered, state, [num_steps])
    case = f"outputs of the first {cut} of {num_steps} steps when other inputs follow them, {mode}"
    require_same(y[:, :cut], whole[:, :cut], subject.tolerance, case, usually)


def _gradients_stay_behind(subject: Subject) -> None:
    num_steps = 36
    x = subject.inputs(ROWS, num_steps).requires_grad_()
    y, _ = run(subject.memory, x, subject.memory.initial_state(ROWS), [num_steps])
    usually = "a backward pass of one's own, or a part that is taken away from itself, reaches later steps"
    for cut in (1, 5, 33):
        case = f"gradient of the first {cut} outputs at the {num_steps - cut} inputs behind them"
        gradient = _gradient(y[:, :cut], x, case)
        _require_nothing(subject, gradient[:, cut:], gradient, case, usually)


def _gradient(y: Tensor, x: Tensor, case: str) -> Tensor:
    """Return the gradient with respect to x of a weighted sum of outputs; zeros where there is none."""
    if not y.requires_grad:
        return torch.zeros_like(x)
    with trying(case):
        (gradient,) = torch.autograd.grad(
            weighted_sum(y), x, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    return gradient


def _require_nothing(subject: Subject, part: Tensor, whole: Tensor, case: str, usually: str) -> None:
    """Raise `LawBroken` unless a part of a gradient is zero beside the whole of it."""
    scale = max(float(whole.nan_to_num().abs().max()), 1e-30)
    require_same(part / scale, torch.zeros_like(part), subject.tolerance, case, usually)


def row_independence(build: Build) -> None:
    """A row of a batch is computed as if it were alone, whatever the others hold and however old they are."""
    subject = examine(build)
    aged = {ages: _aged_rows(subject, ages) for ages in ((0,) * ROWS, AGES)}
    for recording in (False, True):
        with torch.set_grad_enabled(recording):
            for ages, singles in aged.items():
                # Long calls of rows without a past follow, in larger parts.
                long = STEPS - max(AGES) if any(ages) and not recording else 8
                for calls in ([1], [-3], [long]):
                    _rows_are_alone(subject, ages, singles, calls)
            _many_rows_agree_with_few(subject, MANY_ROWS, [5, -2], (1, 37, MANY_ROWS - 38))
    with torch.no_grad():
        _many_rows_agree_with_few(subject, ROWS, [STEPS], (1,))
    _gradients_stay_in_their_rows(subject)


USUALLY = (
    "a mean, norm, sort or reshape over the batch axis, storage shared by all rows, or one row's position "
    "used for all"
)


def _rows_are_alone(subject: Subject, ages: tuple[int, ...], singles: list[State], calls: list[int]) -> None:
    memory, x = subject.memory, subject.inputs(ROWS, abs(calls[0]), seed=2)
    if any(ages):  # in another order, too
        order = [2, 0, 3, 1]
        y, after = run(memory, x[order], select(joined(*singles), order), calls)
    else:
        order = list(range(ROWS))
        y, after = run(memory, x, memory.initial_state(ROWS), calls)
    mode = name_mode(torch.is_grad_enabled())
    for place, row in enumerate(order):
        alone, alone_after = run(memory, x[row : row + 1], copied(singles[row]), calls)
        at = slice(place, place + 1)
        case = f"rows with {ages} steps behind them, {name_calls(calls)}, {mode}: row {row} against it alone"
        require_same(y[at], alone, subject.tolerance, case, USUALLY)
        require_same_state(select(after, at), alone_after, subject.tolerance, case, USUALLY)


@torch.no_grad()
def _aged_rows(subject: Subject, ages: tuple[int, ...]) -> list[State]:
    """Return the states of single rows that have so many steps behind them."""
    states = [subject.memory.initial_state(1) for _ in ages]
    for row, age in enumerate(ages):
        if age:
            x = subject.inputs(ROWS, age, seed=3)[row : row + 1]
            _, states[row] = run(subject.memory, x, states[row], [age])
    return states


def _many_rows_agree_with_few(
    subject: Subject, num_rows: int, calls: list[int], parts: tuple[int, ...]
) -> None:
    memory, x = subject.memory, subject.inputs(num_rows, sum(map(abs, calls)))
    y, after = run(memory, x, memory.initial_state(num_rows), calls)
    start = 0
    for size in parts:
        at = slice(start, start := start + size)
        part, part_after = run(memory, x[at], memory.initial_state(size), calls)
        case = f"{name_calls(calls)}, {size} of {num_rows} rows from row {at.start} on, against these alone"
        require_same(y[at], part, subject.tolerance, case, USUALLY)
        require_same_state(select(after, at), part_after, subject.tolerance, case, USUALLY)


def _gradients_stay_in_their_rows(subject: Subject) -> None:
    x = subject.inputs(ROWS, 9).requires_grad_()
    for calls in ([9], [-9]):
        y, _ = run(subject.memory, x, subject.memory.initial_state(ROWS), calls)
        for row in (0, ROWS - 1):
            others = [other for other in range(ROWS) if other != row]
            case = f"gradient of row {row}'s outputs at the inputs of other rows, {name_calls(calls)}"
            gradient = _gradient(y[row : row + 1], x, case)
            usually = "a backward pass of one's own that mixes rows"
            _require_nothing(subject, gradient[others], gradient, case, usually)
