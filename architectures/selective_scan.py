"""The recurrence at the heart of Mamba, over a whole sequence in one call.

Glossary (Gu and Dao 2023, arXiv 2312.00752, algorithm 2): u input, delta step size, A decay rates, B input
weights, C read-out weights, h state. Axes: b row, t step, d channel, n state.

    h_t[d n] = exp(delta_t[d] A[d n]) h_{t-1}[d n] + delta_t[d] B_t[n] u_t[d]
    y_t[d]   = sum_n C_t[n] h_t[d n]

`selective_scan` walks through time with one fused multiply-add per step and everything else vectorised
over time, forwards and backwards; `selective_scan_reference` is the plain loop under autograd, which tests
compare it with. It works through blocks of rows and steps whose intermediate results [t b n d] stay in the
processor's cache, keeps only the states at the blocks' edges, and computes the rest again on the way back.
Inside a block time comes first, so that a step is contiguous, and channels last, so that sums over n are
matrix products.
"""

from typing import Any

import torch
from torch import Tensor

ELEMENTS_PER_STEP = 2**15
"""Rows per block are chosen so that one step's state has about so many elements. Both constants were measured
best over 22 to 1,002 steps and 8 to 32 rows of 256 channels and 16 states on one CPU core."""

STEPS_PER_BLOCK = 8


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
    u, delta, B, C = (x.to(dtype).transpose(0, 1).contiguous() for x in (u, delta, B, C))
    y, h = _Scan.apply(delta * u, delta, A.to(dtype).t().contiguous(), B, C, h.to(dtype).mT.contiguous())
    return y.transpose(0, 1), h.mT


class _Scan(torch.autograd.Function):
    """The scan of x = delta u with every argument time first and channels last: A [n d], h [b n d]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor) -> Any:
        y, last = torch.empty_like(x), torch.empty_like(h)
        edges = []
        for rows in _row_blocks(h):
            state = h[rows]
            for steps in _step_blocks(x):
                edges.append(state)
                block = _Block(x, delta, A, B, C, rows, steps)
                states = block.states(state)[1:]
                y[steps, rows] = block.sum_over_states(block.C, states)
                state = states[-1].clone()
            last[rows] = state
        ctx.save_for_backward(x, delta, A, B, C, h, *edges)
        return y, last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        grad_y, grad_last = gradients
        x, delta, A, B, C, h, *edges = ctx.saved_tensors
        grad_x, grad_delta, grad_B, grad_C, grad_h = map(torch.empty_like, (x, delta, B, C, h))
        grad_A = torch.zeros_like(A)
        for rows in reversed(_row_blocks(h)):
            carried = grad_last[rows]
            for steps in reversed(_step_blocks(x)):
                block = _Block(x, delta, A, B, C, rows, steps)
                states = block.states(edges.pop())
                block_grad_y = grad_y[steps, rows].contiguous()
                grad_C[steps, rows] = block.sum_over_channels(states[1:], block_grad_y)
                grad_states = block.grad_states(block_grad_y, carried)
                carried = grad_states[0] * block.decay[0]
                grad_B[steps, rows] = block.sum_over_channels(grad_states, block.x)
                grad_x[steps, rows] = block.sum_over_states(block.B, grad_states)
                # decay = exp(delta A), so its gradient times itself is that of the exponent delta A.
                grad_exponent = grad_states.mul_(states[:-1]).mul_(block.decay)
                grad_delta[steps, rows] = (grad_exponent * A).sum(2)
                grad_A += grad_exponent.mul_(block.delta.unsqueeze(2)).sum((0, 1))
            grad_h[rows] = carried
        return grad_x, grad_delta, grad_A, grad_B, grad_C, grad_h


class _Block:
    """Some rows and steps of a scan: h_t = decay_t * h_{t-1} + B_t x_t^T, all [t b n d]."""

    def __init__(self, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, rows: slice, steps: slice):
        self.x, self.delta, self.B, self.C = (part[steps, rows].contiguous() for part in (x, delta, B, C))
        self.decay = torch.mul(self.delta.unsqueeze(2), A).exp_()

    def states(self, initial: Tensor) -> Tensor:
        """Return the states [t+1 b n d], the initial one first."""
        states = initial.new_empty(len(self.x) + 1, *initial.shape)
        states[0] = initial
        torch.mul(self.x.unsqueeze(2), self.B.unsqueeze(3), out=states[1:])
        before, *following = states.unbind(0)
        for after, decay in zip(following, self.decay.unbind(0), strict=True):
            after.addcmul_(decay, before)
            before = after
        return states

    def grad_states(self, grad_y: Tensor, carried: Tensor) -> Tensor:
        """Return the gradient with respect to the state after each step.

        `carried` [b n d] is what reaches the last of them from the steps behind this block.
        """
        grad_states = grad_y.unsqueeze(2) * self.C.unsqueeze(3)
        by_step, decays = grad_states.unbind(0), self.decay.unbind(0)
        by_step[-1].add_(carried)
        for step in range(len(by_step) - 2, -1, -1):
            by_step[step].addcmul_(decays[step + 1], by_step[step + 1])
        return grad_states

    @staticmethod
    def sum_over_states(weights: Tensor, states: Tensor) -> Tensor:
        """Return [t b d], the sum over n of weights [t b n] times states."""
        return (weights.unsqueeze(2) @ states).squeeze(2)

    @staticmethod
    def sum_over_channels(states: Tensor, weights: Tensor) -> Tensor:
        """Return [t b n], the sum over d of states times weights [t b d]."""
        return (weights.unsqueeze(2) @ states.mT).squeeze(2)  # the other order takes six times as long


def _row_blocks(h: Tensor) -> list[slice]:
    rows = max(1, ELEMENTS_PER_STEP // max(1, h[0].numel()))
    return [slice(start, start + rows) for start in range(0, len(h), rows)]


def _step_blocks(x: Tensor) -> list[slice]:
    return [slice(start, start + STEPS_PER_BLOCK) for start in range(0, len(x), STEPS_PER_BLOCK)]
