"""The law on gradients: they reach the first step, through however many calls."""

import torch
from torch import Tensor

from membench.laws.subject import Build, Subject, examine, require, require_same, run

SPAN = 24
"""Steps between the input that is asked about and the output."""


def gradient_reach(build: Build) -> None:
    """The last output depends on the first input, with the same gradient in one call and in several.

    A memory that declares `remembers = False` must not depend on it at all.
    """
    subject = examine(build)
    whole = _gradients(subject, (SPAN,))
    reach = float(whole[:, 0].abs().max())
    if not subject.memory.remembers:
        require(reach == 0, f"the last output depends on the first input ({reach:.1e})", "a memory after all")
        return
    usually = "a detached state, or a state that later outputs ignore"
    require(reach > 0, f"the last of {SPAN} outputs does not depend on the first input", usually)
    for calls in ((SPAN // 2, SPAN // 2), (-SPAN,)):
        case = f"gradient of the last output, {len(calls)} calls"
        require_same(_gradients(subject, calls), whole, 10 * subject.tolerance, case, usually)


def _gradients(subject: Subject, calls: tuple[int, ...]) -> Tensor:
    memory = subject.memory
    x = subject.inputs(1, SPAN).requires_grad_()
    y, _ = run(memory, x, memory.initial_state(1), calls)
    # An uneven weighting, for the plain sum of a normalised output has no gradient.
    weights = torch.linspace(-1, 1, y.shape[-1], dtype=y.dtype)
    (gradient,) = torch.autograd.grad((y[:, -1] * weights).sum(), x)
    return gradient
