"""The recurrence at the heart of Mamba, over a whole sequence in one call.

Glossary (Gu and Dao 2023, arXiv 2312.00752, algorithm 2): u input, delta step size, A decay rates, B input
weights, C read-out weights, h state. Axes: b row, t step, d channel, n state.

    h_t[d n] = exp(delta_t[d] A[d n]) h_{t-1}[d n] + delta_t[d] B_t[n] u_t[d]
    y_t[d]   = sum_n C_t[n] h_t[d n]

`selective_scan` walks through time with one fused multiply-add per step and everything else vectorised
over time, forwards and backwards; `selective_scan_reference` is the plain loop under autograd, which tests
compare it with. It works through blocks of rows and steps whose intermediate results [t b d n] stay in the
processor's cache, keeps only the states at the blocks' edges, and computes the rest again on the way back.
"""

from typing import Any

import torch
from torch import Tensor

ELEMENTS_PER_STEP = 2**15
"""Rows per block are chosen so that one step's state has about so many elements; measured best on CPU."""

STEPS_PER_BLOCK = 32


def selective_scan_reference(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the recurrence step by step: u, delta [b t d], A [d n], B, C [b t n], h [b d n].

    Returns:
        The outputs y [b t d] and the state after the last step [b d n].
    """
    outputs = []
    for u_t, delta_t, B_t, C_t in zip(u.unbind(1), delta.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        h = torch.exp(delta_t.unsqueeze(-1) * A) * h + (delta_t * u_t).unsqueeze(-1) * B_t.unsqueeze(1)
        outputs.append((h @ C_t.unsqueeze(-1)).squeeze(-1))
    return torch.stack(outputs, dim=1), h


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `selective_scan_reference` does, faster and in memory that does not hold every state."""
    dtype = torch.promote_types(h.dtype, delta.dtype)
    return _SelectiveScan.apply(*(tensor.to(dtype) for tensor in (u, delta, A, B, C, h)))


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor):
        y, last = torch.empty_like(u), torch.empty_like(h)
        edges: list[Tensor] = []
        for rows in _row_blocks(h):
            state = h[rows]
            for steps in _step_blocks(u):
                edges.append(state)
                block = _Block(u, delta, A, B, rows, steps)
                states = block.states(state)
                y[rows, steps] = torch.einsum("tbdn,btn->btd", states[1:], C[rows, steps])
                state = states[-1].clone()
            last[rows] = state
        ctx.save_for_backward(u, delta, A, B, C, h, *edges)
        return y, last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor):
        grad_y, grad_last = gradients
        u, delta, A, B, C, h, *edges = ctx.saved_tensors
        grad_u, grad_delta, grad_B, grad_C, grad_h = map(torch.empty_like, (u, delta, B, C, h))
        grad_A = torch.zeros_like(A)
        for rows in reversed(_row_blocks(h)):
            carried = grad_last[rows]
            for steps in reversed(_step_blocks(u)):
                block = _Block(u, delta, A, B, rows, steps)
                states = block.states(edges.pop())
                grad_C[rows, steps] = torch.einsum("tbdn,btd->btn", states[1:], grad_y[rows, steps])
                grad_states = block.grad_states(grad_y[rows, steps], C[rows, steps], carried)
                carried = grad_states[0] * block.decay[0]
                grad_B[rows, steps] = torch.einsum("tbdn,btd->btn", grad_states, block.weighted_input)
                grad_input = torch.einsum("tbdn,btn->btd", grad_states, B[rows, steps])
                grad_u[rows, steps] = grad_input * delta[rows, steps]
                grad_exponent = grad_states.mul_(states[:-1]).mul_(block.decay)
                grad_delta[rows, steps] = grad_input * u[rows, steps] + torch.einsum(
                    "tbdn,dn->btd", grad_exponent, A
                )
                grad_A += torch.einsum("tbdn,btd->dn", grad_exponent, delta[rows, steps])
            grad_h[rows] = carried
        return grad_u, grad_delta, grad_A, grad_B, grad_C, grad_h


class _Block:
    """What the recurrence needs for some rows and steps: h_t = decay_t * h_{t-1} + drive_t, time first."""

    def __init__(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, rows: slice, steps: slice):
        step_sizes = delta[rows, steps].transpose(0, 1)
        self.decay = torch.exp(step_sizes.unsqueeze(-1) * A)
        self.weighted_input = delta[rows, steps] * u[rows, steps]
        self._drive = self.weighted_input.transpose(0, 1).unsqueeze(-1) * B[rows, steps].transpose(
            0, 1
        ).unsqueeze(2)

    def states(self, initial: Tensor) -> Tensor:
        """Return the states [t+1 b d n], the initial one first."""
        states = initial.new_empty(len(self._drive) + 1, *initial.shape)
        states[0] = initial
        state, *following = states.unbind(0)
        for after, decay, drive in zip(following, self.decay.unbind(0), self._drive.unbind(0), strict=True):
            torch.addcmul(drive, decay, state, out=after)
            state = after
        return states

    def grad_states(self, grad_y: Tensor, C: Tensor, carried: Tensor) -> Tensor:
        """Return the gradients of the loss with respect to the states after each step [t b d n].

        `carried` [b d n] is what reaches the last of them from the steps behind this block.
        """
        grad_states = grad_y.transpose(0, 1).unsqueeze(-1) * C.transpose(0, 1).unsqueeze(2)
        grad_states[-1] += carried
        by_step, decays = grad_states.unbind(0), self.decay.unbind(0)
        for step in range(len(by_step) - 2, -1, -1):
            by_step[step].addcmul_(decays[step + 1], by_step[step + 1])
        return grad_states


def _row_blocks(h: Tensor) -> list[slice]:
    rows = max(1, ELEMENTS_PER_STEP // max(1, h[0].numel()))
    return [slice(start, start + rows) for start in range(0, len(h), rows)]


def _step_blocks(u: Tensor) -> list[slice]:
    return [slice(start, start + STEPS_PER_BLOCK) for start in range(0, u.shape[1], STEPS_PER_BLOCK)]
