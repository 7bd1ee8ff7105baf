"""The scan of `architectures.selective_scan` in loops that numba compiles (extra `numba`).

For float32 on a CPU. Glossary and axes as there, but for A [n d] and h [b n d], channels last; x is delta u.
Rows are worked through one by one, in blocks of steps whose states and decays stay in the processor's cache:
the states at the blocks' edges are kept, the rest is computed again on the way back. Loops over d are short
ones of few arrays, for LLVM makes vector instructions of a loop only if it can check that what is written
overlaps nothing that is read, and gives up on more than about eight such checks.
"""

import math
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

STEPS_PER_BLOCK = 16

compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
"""Sums may be reordered and products fused with them; what is infinite or no number stays so."""


def compiled_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `selective_scan_reference` does, of arguments as it takes them."""
    arguments = (delta * u, delta, A.t(), B, C, h.mT)
    y, h = _Scan.apply(*(argument.contiguous() for argument in arguments))
    return y, h.mT


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor) -> Any:
        inputs = (x, delta, A, B, C)
        num_blocks = math.ceil(x.shape[1] / STEPS_PER_BLOCK)
        y, last, edges = torch.zeros_like(x), h.clone(), h.new_empty(num_blocks, *h.shape)
        _run(_arrays(*inputs), *_arrays(last, *_buffers(A), edges, y))
        ctx.save_for_backward(*inputs, edges)
        return y, last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        grad_y, grad_last = gradients
        *inputs, edges = ctx.saved_tensors
        _, _, A, _, _ = inputs
        grad_inputs = [torch.zeros_like(one) for one in inputs]
        grad_h = grad_last.clone(memory_format=torch.contiguous_format)
        others = _arrays(grad_y.contiguous(), edges, *_buffers(A), grad_h)
        _run_back(_arrays(*inputs), _arrays(*grad_inputs), *others)
        return *grad_inputs, grad_h


def _buffers(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return room for a block's states, the one before it first, and for its decays."""
    return A.new_empty(STEPS_PER_BLOCK + 1, *A.shape), A.new_empty(STEPS_PER_BLOCK, *A.shape)


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.detach().numpy() for tensor in tensors)


@compiled
def _run(inputs, h, states, decay, edges, y):
    """Fill `edges`, the states [block b n d] before each block, add to y, and leave the last states in h.

    `inputs` are x, delta, A, B and C; `states` and `decay` are room for a block's.
    """
    rows, steps, _ = y.shape
    for row in range(rows):
        for start in range(0, steps, STEPS_PER_BLOCK):
            end = min(steps, start + STEPS_PER_BLOCK)
            _copy(h[row], edges[start // STEPS_PER_BLOCK, row])
            _copy(h[row], states[0])
            block = _cut(inputs, row, start, end)
            _fill(block, states, decay)
            _read(block[4], states, y[row, start:end])
            _copy(states[end - start], h[row])


@compiled
def _run_back(inputs, grad_inputs, grad_y, edges, states, decay, carried):
    """Add to the gradients of the inputs.

    `carried` comes as the gradient of the last states and leaves as that of the first.
    """
    rows, steps, _ = grad_y.shape
    for row in range(rows):
        for number in range(len(edges) - 1, -1, -1):
            start = number * STEPS_PER_BLOCK
            end = min(steps, start + STEPS_PER_BLOCK)
            _copy(edges[number, row], states[0])
            block = _cut(inputs, row, start, end)
            _fill(block, states, decay)
            grad_block = _cut(grad_inputs, row, start, end)
            _walk_back(block, grad_block, grad_y[row, start:end], states, decay, carried[row])


@compiled
def _cut(inputs, row, start, end):
    """Return some steps of a row of the inputs, or of their gradients."""
    x, delta, A, B, C = inputs
    return x[row, start:end], delta[row, start:end], A, B[row, start:end], C[row, start:end]


@compiled
def _copy(source, target):
    """Write one state into another; an assignment of arrays takes numba seconds to compile."""
    for n in range(source.shape[0]):
        for d in range(source.shape[1]):
            target[n, d] = source[n, d]


@compiled
def _fill(inputs, states, decay):
    """Write the decays of a block, and its states after the first."""
    x, delta, A, B, _ = inputs
    for t in range(len(x)):
        for n in range(len(A)):
            for d in range(A.shape[1]):
                decay[t, n, d] = _exp(delta[t, d] * A[n, d])
            weight = B[t, n]
            for d in range(A.shape[1]):
                states[t + 1, n, d] = decay[t, n, d] * states[t, n, d] + weight * x[t, d]


@compiled
def _exp(x):
    """Return exp(x) to about one unit in the last place, as Cephes' expf does, in a form that vectorises."""
    x = min(max(x, np.float32(-88.0)), np.float32(89.0))  # 0 and infinity beyond
    power = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    # 2 to that power, or 0 at -127: the exponent, plus 127, stands above the 23 bits of the fraction.
    return p * np.int32((power + np.float32(127.0)) * np.float32(2**23)).view(np.float32)


@compiled
def _read(C, states, y):
    for t in range(len(C)):
        for n in range(C.shape[1]):
            weight = C[t, n]
            for d in range(y.shape[1]):
                y[t, d] += weight * states[t + 1, n, d]


@compiled
def _walk_back(inputs, grad_inputs, grad_y, states, decay, carried):
    x, delta, A, B, C = inputs
    grad_x, grad_delta, grad_A, grad_B, grad_C = grad_inputs
    channels = A.shape[1]
    for t in range(len(x) - 1, -1, -1):
        for n in range(len(A)):
            weight_in, weight_out = B[t, n], C[t, n]
            sum_in = sum_out = np.float32(0.0)
            for d in range(channels):
                sum_out += grad_y[t, d] * states[t + 1, n, d]
            for d in range(channels):
                grad_state = carried[n, d] + grad_y[t, d] * weight_out
                carried[n, d] = grad_state
                sum_in += grad_state * x[t, d]
                grad_x[t, d] += weight_in * grad_state
            for d in range(channels):
                grad_state = carried[n, d] * decay[t, n, d]
                carried[n, d] = grad_state
                grad_delta[t, d] += grad_state * states[t, n, d] * A[n, d]
            for d in range(channels):
                grad_A[n, d] += carried[n, d] * states[t, n, d] * delta[t, d]
            grad_B[t, n], grad_C[t, n] = sum_in, sum_out
