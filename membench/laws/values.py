"""Laws about values: they follow from an episode's own past, whichever way it is asked for."""

import torch

from membench.laws.subject import (
    ROWS,
    STEPS,
    Build,
    Subject,
    examine,
    joined,
    name_calls,
    name_mode,
    require_same,
    require_same_state,
    run,
)
from membench.memory import State, select

AGES = (0, 3, 17, 40)
"""Steps that the rows of a mixed batch have behind them."""


def segmentation(build: Build) -> None:
    """Any split into calls, by `forward` and by `step`, gives the same outputs and the same final state."""
    subject = examine(build)
    memory = subject.memory
    for num_steps in (2, 5, STEPS):
        x = subject.inputs(ROWS, num_steps)
        with torch.no_grad():
            expected = run(memory, x, memory.initial_state(ROWS), [num_steps])
        for calls in _splits(num_steps):
            for recording in (False, True):
                with torch.set_grad_enabled(recording):
                    got = run(memory, x, memory.initial_state(ROWS), calls)
                case = f"{name_calls(calls)}, {name_mode(recording)}, against one forward over {num_steps}"
                usually = (
                    "the state does not carry all that the next call needs, `forward` ignores or resets "
                    "part of the state it is given, or `step` computes something else than `forward`"
                )
                require_same(got[0], expected[0], subject.tolerance, case, usually)
                require_same_state(got[1], expected[1], subject.tolerance, case, usually)


def _splits(num_steps: int) -> list[list[int]]:
    """Return splits of `num_steps` into calls, as `run` takes them."""
    splits = [[-num_steps], [1] * num_steps, [1, num_steps - 1], [num_steps - 1, 1], [1, 1 - num_steps]]
    if num_steps == STEPS:
        splits += [[33, 31, 8], [-3, 65, -4], [5, -30, 37], [64, 8]]
    return splits


@torch.no_grad()
def causality(build: Build) -> None:
    """Outputs depend on no later input, nor on how many there are."""
    subject = examine(build)
    memory = subject.memory
    x, other = subject.inputs(ROWS, STEPS), subject.inputs(ROWS, STEPS, seed=1).flip(0)
    whole, _ = memory(x, memory.initial_state(ROWS))
    usually = "a layer or a statistic looks at steps to come: a missing mask, a shift, a mean over time"
    for cut in (1, 2, 5, 33, STEPS - 1):
        prefix, _ = memory(x[:, :cut], memory.initial_state(ROWS))
        case = f"outputs of the first {cut} of {STEPS} steps against those of these steps alone"
        require_same(prefix, whole[:, :cut], subject.tolerance, case, usually)
        altered = torch.cat([x[:, :cut], other[:, cut:]], dim=1)
        y, _ = memory(altered, memory.initial_state(ROWS))
        case = f"outputs of the first {cut} of {STEPS} steps after other inputs were put in behind them"
        require_same(y[:, :cut], whole[:, :cut], subject.tolerance, case, usually)


def row_independence(build: Build) -> None:
    """A row of a batch is computed as if it were alone, whatever the others hold and however old they are."""
    subject = examine(build)
    for recording in (False, True):
        for ages in ((0,) * ROWS, AGES):
            for calls in ([1], [-3], [STEPS - max(AGES)]):
                with torch.set_grad_enabled(recording):
                    _rows_are_alone(subject, ages, calls, name_mode(recording))


def _rows_are_alone(subject: Subject, ages: tuple[int, ...], calls: list[int], mode: str) -> None:
    memory, x = subject.memory, subject.inputs(ROWS, abs(calls[0]), seed=2)
    singles = [_aged(subject, row, age) for row, age in enumerate(ages)]
    if any(ages):  # in another order, too
        order = [2, 0, 3, 1]
        y, after = run(memory, x[order], select(joined(*singles), order), calls)
    else:
        order = list(range(ROWS))
        y, after = run(memory, x, memory.initial_state(ROWS), calls)
    usually = (
        "a mean, norm, sort or reshape over the batch axis, storage shared by all rows, or one row's "
        "position used for all"
    )
    for place, row in enumerate(order):
        alone, alone_after = run(memory, x[row : row + 1], singles[row], calls)
        at = slice(place, place + 1)
        case = f"rows with {ages} steps behind them, {name_calls(calls)}, {mode}: row {row} against it alone"
        require_same(y[at], alone, subject.tolerance, case, usually)
        require_same_state(select(after, at), alone_after, subject.tolerance, case, usually)


def _aged(subject: Subject, row: int, age: int) -> State:
    """Return the state of one row that has `age` steps behind it."""
    state = subject.memory.initial_state(1)
    if age:
        _, state = subject.memory(subject.inputs(ROWS, age, seed=3)[row : row + 1], state)
    return state
