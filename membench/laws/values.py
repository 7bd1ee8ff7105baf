"""Laws on what a memory computes: the same whichever way it is asked, and from its own past alone."""

import torch

from membench.laws.subject import (
    ROWS,
    STEPS,
    Build,
    copied,
    examine,
    joined,
    leaves,
    name_calls,
    require,
    require_same,
    require_same_state,
    run,
)
from membench.memory import select

SPLITS = ((1, STEPS - 1), (-1, STEPS - 1), (STEPS // 2, STEPS // 2), (5, -3, STEPS - 8), (-STEPS,))
"""Ways to cut an episode into calls: n is `forward` over n steps, -n is n times `step`."""


@torch.no_grad()
def segmentation(build: Build) -> None:
    """Any split of an episode into calls, down to single steps, gives the same outputs and final state."""
    subject = examine(build)
    memory, x = subject.memory, subject.inputs(ROWS, STEPS)
    expected, expected_state = memory(x, memory.initial_state(ROWS))
    for calls in SPLITS:
        case = f"{name_calls(calls)} against one forward over {STEPS}"
        usually = "a state that does not hold all that later steps need, or `step` computing something else"
        y, state = run(memory, x, memory.initial_state(ROWS), calls)
        require_same(y, expected, subject.tolerance, case, usually)
        require_same_state(state, expected_state, subject.tolerance, case, usually)


@torch.no_grad()
def causality(build: Build) -> None:
    """What comes later changes nothing that came before."""
    subject = examine(build)
    memory, x = subject.memory, subject.inputs(ROWS, STEPS)
    expected, _ = memory(x, memory.initial_state(ROWS))
    for step in (1, 2, STEPS // 2, STEPS - 1):
        changed = x.clone()
        changed[:, step:] = 3.0 - changed[:, step:]
        y, _ = memory(changed, memory.initial_state(ROWS))
        case = f"inputs changed from step {step} on"
        usually = "a mask that is off by one, or a statistic over the whole sequence"
        require_same(y[:, :step], expected[:, :step], subject.tolerance, case, usually)


@torch.no_grad()
def row_independence(build: Build) -> None:
    """A row computes the same alone and in any company, also in the midst of episodes of other lengths."""
    subject = examine(build)
    memory, x = subject.memory, subject.inputs(ROWS, STEPS)
    lengths = (3, 0, STEPS // 2, 7)
    alone, states = [], []
    for row, length in enumerate(lengths):
        past, future = x[row : row + 1, :length], x[row : row + 1, length : length + 9]
        state = memory.initial_state(1)
        if length:
            _, state = memory(past, state)
        states.append(state)
        alone.append((future, *memory(future, copied(state))))
    inputs, outputs, after = (list(column) for column in zip(*alone, strict=True))
    usually = "statistics or a counter shared by the rows of a batch"
    together, state = memory(torch.cat(inputs), copied(joined(*states)))
    case = f"four rows, {lengths} steps into their episodes, in one forward"
    require_same(together, torch.cat(outputs), subject.tolerance, case, usually)
    require_same_state(state, joined(*after), subject.tolerance, case, usually)
    by_step, state = run(memory, torch.cat(inputs), copied(joined(*states)), (-9,))
    case = case.replace("in one forward", "by step")
    require_same(by_step, torch.cat(outputs), subject.tolerance, case, usually)
    picked, _ = memory(torch.cat(inputs)[2:], select(copied(joined(*states)), slice(2, None)))
    require_same(picked, torch.cat(outputs)[2:], subject.tolerance, "two of the four rows", usually)


@torch.no_grad()
def purity(build: Build) -> None:
    """`forward` changes nothing that it is given; `step` nothing but a cache, and never `hidden`."""
    subject = examine(build)
    memory, x = subject.memory, subject.inputs(ROWS, 8)
    _, state = memory(x[:, :4], memory.initial_state(ROWS))
    own = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    before, given = copied(state), x.clone()
    memory(x, state)
    usually = "an in-place operation on an argument, a parameter or a buffer"
    require_same_state(state, before, 0.0, "the state given to forward", usually)
    require_same(x, given, 0.0, "the input given to forward", usually)
    _, later = memory.step(x[:, 0], state)
    memory.step(x[:, 1], later)
    require_same(x, given, 0.0, "the input given to step", usually)
    require_same(state["hidden"], before["hidden"], 0.0, "`hidden` of the state given to step", usually)
    for name, tensor in memory.state_dict().items():
        require_same(tensor, own[name], 0.0, f"parameter or buffer {name!r} after acting", usually)
    fresh = memory.initial_state(ROWS)
    require_same_state(fresh, memory.initial_state(ROWS), 0.0, "a second initial state", usually)


@torch.no_grad()
def determinism(build: Build) -> None:
    """The same call gives the same result, in training and in evaluation mode."""
    subject = examine(build)
    memory, x = subject.memory, subject.inputs(ROWS, 12)
    memory.train()
    expected, expected_state = memory(x, memory.initial_state(ROWS))
    usually = "dropout, noise, or a norm with running statistics"
    for is_training in (True, False):
        memory.train(is_training)
        for calls in ((12,), (-12,)):
            y, state = run(memory, x, memory.initial_state(ROWS), calls)
            case = f"{name_calls(calls)}, again, train({is_training})"
            require_same(y, expected, subject.tolerance, case, usually)
            require_same_state(state, expected_state, subject.tolerance, case, usually)


@torch.no_grad()
def state_shape(build: Build) -> None:
    """The state has a row per episode first in every leaf, `hidden` [b h], and one shape for ever."""
    memory = examine(build).memory
    state = memory.initial_state(3)
    shapes = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves(state).items()}
    usually = "a state that grows with time, or a leaf without a batch axis"
    for name, (shape, _) in shapes.items():
        require(len(shape) >= 1 and shape[0] == 3, f"{name} has shape {tuple(shape)} for 3 rows", usually)
    hidden = state.get("hidden")
    require(hidden is not None and hidden.dim() == 2, "`hidden` [b h] is not in the state", usually)
    require(hidden is not None and not hidden.any(), "`hidden` is not zero before the first step", usually)
    subject = examine(build)
    x = subject.inputs(3, 20)
    for calls in ((1,), (-1,), (20,)):
        y, after = run(memory, x[:, : abs(calls[0])], memory.initial_state(3), calls)
        width = (3, abs(calls[0]), memory.output_size)
        require(tuple(y.shape) == width, f"outputs have shape {tuple(y.shape)}, not {width}", usually)
        found = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves(after).items()}
        require(found == shapes, f"after {name_calls(calls)} the state is {found}, was {shapes}", usually)
