"""The elementwise linear recurrence that many memories share, over a whole sequence in one call.

Glossary: a decay, u input, h state. Axes: b row, t step, then any features.

    h_t = a_t h_{t-1} + u_t

On a CPU, `linear_scan` walks through time with one fused multiply-add per step, forwards and backwards
(`_Walk`). Elsewhere, where every step would cost the launch of a kernel, it doubles: after k rounds every
step holds what the last 2^k steps made, so that all steps are done after log2(t) rounds (Hillis and Steele
1986; the operator is that of Martin and Cundy 2018, arXiv 1709.04057). `linear_scan_reference` is the plain
loop, which tests compare both with. Real and complex numbers alike.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear_scan_reference(decays: Tensor, inputs: Tensor, state: Tensor) -> Tensor:
    """Return the states [b t ...] after each step.

    Args:
        decays: [b t ...], with axes of length 1 where they are the same for all.
        inputs: [b t ...].
        state: [b ...], before the first step.
    """
    states = []
    for a, u in zip(decays.expand_as(inputs).unbind(1), inputs.unbind(1), strict=True):
        state = a * state + u
        states.append(state)
    return torch.stack(states, dim=1)


def linear_scan(decays: Tensor, inputs: Tensor, state: Tensor) -> Tensor:
    """Return what `linear_scan_reference` does, faster, in the state's type."""
    decays, inputs = decays.to(state.dtype), inputs.to(state.dtype)
    if state.device.type != "cpu":
        return _scan_by_doubling(decays.expand_as(inputs), inputs, state)
    time_first = inputs.transpose(0, 1).contiguous()
    decays = decays.expand(-1, inputs.shape[1], *decays.shape[2:]).transpose(0, 1)
    return _Walk.apply(decays, time_first, state).transpose(0, 1)


def _scan_by_doubling(decays: Tensor, inputs: Tensor, state: Tensor) -> Tensor:
    """Compose the steps' maps h -> a h + u with those of 1, 2, 4 ... steps before."""
    states, reach, num_steps = inputs, 1, inputs.shape[1]
    while reach < num_steps:
        # The first `reach` steps have nothing so far before them and are done.
        states = torch.cat(
            [states[:, :reach], decays[:, reach:] * states[:, :-reach] + states[:, reach:]], dim=1
        )
        decays = torch.cat([decays[:, :reach], decays[:, reach:] * decays[:, :-reach]], dim=1)
        reach *= 2
    return decays * state.unsqueeze(1) + states


class _Walk(torch.autograd.Function):
    """The recurrence over decays [t b ...], which broadcast, and inputs [t b ...], from the state [b ...]."""

    @staticmethod
    def forward(ctx: Any, decays: Tensor, inputs: Tensor, state: Tensor) -> Tensor:
        states = inputs.new_empty(len(inputs) + 1, *state.shape)
        states[0], states[1:] = state, inputs
        before, *following = states.unbind(0)
        for after, a in zip(following, decays.unbind(0), strict=True):
            after.addcmul_(a, before)
            before = after
        ctx.save_for_backward(decays, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        decays, states = ctx.saved_tensors
        grads = gradients[0].clone(memory_format=torch.contiguous_format)
        conjugates = decays.conj().resolve_conj()
        *earlier, after = grads.unbind(0)
        for grad, a in zip(reversed(earlier), reversed(conjugates[1:].unbind(0)), strict=True):
            grad.addcmul_(a, after)
            after = grad
        grad_decays = None
        if ctx.needs_input_grad[0]:
            grad_decays = (grads * states[:-1].conj()).sum_to_size(decays.shape)
        return grad_decays, grads, conjugates[0] * grads[0]
