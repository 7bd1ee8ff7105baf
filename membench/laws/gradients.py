"""Laws about gradients: how far back they reach, through which calls, and whether they are the right ones."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from membench.laws.comparing import LawBroken, leaves, require, require_same, trying
from membench.laws.determinism import eval_mode
from membench.laws.subject import (
    ROWS,
    SILENT_AFTER_A_CUE,
    STEPS,
    Build,
    Subject,
    examine,
    name_calls,
    run,
    weighted_sum,
)

REACH = 34
"""Steps that gradients are followed over; it crosses the edge of a block of 32."""

FEW = 7
"""Steps over which gradients are compared with finite differences, which takes many runs."""


class _Difference(NamedTuple):
    """How a finite difference is taken: `move` every value, and by how much gradients may differ from it.

    `floor` is the size of a gradient below which rounding tells more than the difference does.
    """

    move: float
    tolerance: float
    floor: float


DIFFERENCES = {torch.float64: _Difference(1e-6, 1e-4, 1e-6), torch.float32: _Difference(3e-3, 3e-2, 0.1)}


def gradient_reach(build: Build) -> None:
    """Outputs depend on the first input through any calls, and gradients say how.

    A class with `remembers = False` must not depend on it at all.
    """
    subject = examine(build)
    if subject.memory.remembers:
        # In fewer bits, what is sound may fade to nothing over many steps.
        longest = STEPS if subject.dtype == torch.float64 else REACH
        for calls in ([2], [-2], [longest], [-REACH]):
            _reaches_the_first_step(subject, calls)
    else:
        _remembers_nothing(subject)
    _records_only_when_asked(subject)
    _gradients_agree(subject)
    _agrees_with_finite_differences(subject)


def _remembers_nothing(subject: Subject) -> None:
    x = subject.inputs(ROWS, 5).requires_grad_()
    y, _ = run(subject.memory, x, subject.memory.initial_state(ROWS), [2, -3])
    (gradient,) = torch.autograd.grad(y[:, -1].square().sum(), x)
    changed = torch.cat([x.detach()[:, :-1] + 1, x.detach()[:, -1:]], dim=1)
    y_changed, _ = run(subject.memory, changed, subject.memory.initial_state(ROWS), [2, -3])
    depends = bool(gradient[:, :-1].any()) or not torch.equal(y[:, -1], y_changed[:, -1])
    usually = "the class remembers after all: drop `remembers = False`"
    require(not depends, "the output at step 4 depends on earlier inputs", usually)


def _reaches_the_first_step(subject: Subject, calls: Sequence[int]) -> None:
    num_steps = sum(map(abs, calls))
    x = subject.inputs(ROWS, num_steps).requires_grad_()
    y, _ = run(subject.memory, x, subject.memory.initial_state(ROWS), calls)
    usually = (
        "a state that is detached or rebuilt under no_grad, a step that starts from the initial state, or a "
        "window that is shorter than the episode; a memoryless baseline declares `remembers = False`"
    )
    case = f"the output at step {num_steps - 1} has no gradient at the input of step 0, {name_calls(calls)}"
    require(y.requires_grad, case, usually)
    with trying(f"backward pass, {name_calls(calls)}"):
        (gradient,) = torch.autograd.grad(weighted_sum(y[:, -1]), x, allow_unused=True)
    require(gradient is not None and bool((gradient[:, 0] != 0).any()), case, usually)
    usually = "an observation of zeros, as in every delay, is taken for padding or the end of an episode"
    require(bool((gradient[SILENT_AFTER_A_CUE, 0] != 0).any()), f"{case}, where silence follows it", usually)


@torch.no_grad()
def _records_only_when_asked(subject: Subject) -> None:
    for calls in ([3], [-3]):
        y, state = run(subject.memory, subject.inputs(ROWS, 3), subject.memory.initial_state(ROWS), calls)
        recorded = [name for name, leaf in {"y": y, **leaves(state)}.items() if leaf.requires_grad]
        case = f"{name_calls(calls)}, under no_grad: {', '.join(recorded)} requires a gradient"
        require(not recorded, case, "enable_grad in the memory; acting would keep the graph of an episode")


def _gradients_agree(subject: Subject) -> None:
    """Gradients through several calls, and in eval mode, are those through a single call."""
    x = subject.inputs(ROWS, REACH)
    expected = _gradients(subject, [REACH], x)
    for calls in ([1, REACH - 1], [7, REACH - 10, -3], [-REACH]):
        case = f"{name_calls(calls)}, against one forward over {REACH} steps"
        usually = "part of the state is detached between calls, or `step` computes under no_grad"
        _require_same_gradients(subject, _gradients(subject, calls, x), expected, case, usually)
    with eval_mode(subject):
        in_eval = _gradients(subject, [REACH], x)
    case = f"forward over {REACH}, in eval mode, against training mode"
    _require_same_gradients(
        subject, in_eval, expected, case, "another path, or another backward pass, by mode"
    )


def _require_same_gradients(
    subject: Subject, got: dict[str, Tensor], expected: dict[str, Tensor], case: str, usually: str
) -> None:
    for name, gradient in expected.items():
        # A parameter's gradient sums over rows and steps, so it may be off by that much more.
        tolerance = 10 * subject.tolerance
        name_and_case = f"gradient of {name}, {case}"
        require_same(got[name].flatten(), gradient.flatten(), tolerance, name_and_case, usually)


def _gradients(subject: Subject, calls: Sequence[int], x: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a weighted sum of all outputs with respect to x and the parameters."""
    x = x.detach().requires_grad_()
    sources = {"the input x": x} | _trainable(subject)
    loss = _loss(subject, x, calls)
    if not loss.requires_grad:
        return {name: torch.zeros_like(source) for name, source in sources.items()}
    with trying(f"backward pass, {name_calls(calls)}"):
        gradients = torch.autograd.grad(
            loss, list(sources.values()), allow_unused=True, materialize_grads=True
        )
    return dict(zip(sources, gradients, strict=True))


def _trainable(subject: Subject) -> dict[str, Tensor]:
    parameters = subject.memory.named_parameters()
    return {f"the parameter {name!r}": p for name, p in parameters if p.requires_grad}


def _loss(subject: Subject, x: Tensor, calls: Sequence[int]) -> Tensor:
    y, _ = run(subject.memory, x, subject.memory.initial_state(ROWS), calls)
    return weighted_sum(y) / math.sqrt(y.numel())


def _agrees_with_finite_differences(subject: Subject) -> None:
    """The gradient along a random direction is what a small move in this direction shows.

    This finds what comparing calls with one another cannot: a gradient that is cut at every step alike.
    """
    random = torch.Generator().manual_seed(7)
    # No silence here: a norm bends so sharply at zero that no small move follows its slope.
    x = torch.randn(ROWS, FEW, subject.memory.input_size, generator=random, dtype=torch.float64).to(
        subject.dtype
    )
    gradients, difference = _gradients(subject, [FEW], x), DIFFERENCES[subject.dtype]
    for name, source in ({"the input x": x} | _trainable(subject)).items():
        direction = torch.randn(source.shape, generator=random, dtype=torch.float64)
        expected = _slope(subject, x, source.detach(), direction, difference.move)
        got = float((gradients[name] * direction).sum())
        # Relative to the gradient's own size: along a direction it may be small by chance.
        scale = float(gradients[name].norm()) + abs(expected) + difference.floor
        if not abs(got - expected) <= difference.tolerance * scale:
            raise LawBroken(
                f"gradient of {name} over {FEW} steps: {got:.6g} along a random direction, where a finite "
                f"difference gives {expected:.6g}",
                "part of the state or of the initial state is detached, computed under no_grad or through "
                ".data, or a backward pass of one's own is wrong; a straight-through estimator is, by design",
            )


@torch.no_grad()
def _slope(subject: Subject, x: Tensor, source: Tensor, direction: Tensor, move: float) -> float:
    """Return the central difference of the weighted sum of outputs when `source` moves along `direction`."""
    values = source.clone()
    sums = []
    for sign in (1, -1):
        source.copy_(values + sign * move * direction)
        sums.append(float(_loss(subject, x, [FEW])))
    source.copy_(values)
    return (sums[0] - sums[1]) / (2 * move)
