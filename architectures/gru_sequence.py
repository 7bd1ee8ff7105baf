"""A GRU layer over a whole sequence in one call, faster on a CPU than `torch.nn.GRU`.

Equations and names as in `architectures.gru`; m_t = U_n h_{t-1} + c_n is the recurrent half of the candidate.
Axes: time first inside this file, [t b ...], so that a step is contiguous.

PyTorch's layer is a loop of small operations, forwards and, by autograd, many more of them backwards. Here
one matrix product serves the inputs of all steps, a step forwards takes one product into a buffer that holds
everything else already, and on the way back, whatever does not depend on the gradient is computed for all
steps at once:

    dn = dh (1 - z) (1 - n^2)        dz = dh (h_{t-1} - n) z (1 - z) = dh (h - n) (1 - z)
    dm = dn r                        dr = dn m r (1 - r)
    dh_{t-1} = dh z + dr U_r + dz U_z + dm U_n

which leaves three operations per step, and one product at the end for each weight and for the inputs.
`torch.nn.GRU` is the reference that tests compare it with.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gru_sequence(
    x: Tensor, h: Tensor, input_weight: Tensor, weight: Tensor, input_bias: Tensor, bias: Tensor
) -> Tensor:
    """Return the hidden states [b t h] of one layer over x [b t i], from the state h [b h].

    The weights [3h i], [3h h] and biases [3h] hold r, z and n one after another, as those of `torch.nn.GRU`.
    """
    return _GRUSequence.apply(x.transpose(0, 1), h, input_weight, weight, input_bias, bias).transpose(0, 1)


class _GRUSequence(torch.autograd.Function):
    """The layer over x [t b i]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, input_weight: Tensor, weight: Tensor, input_bias: Tensor, bias: Tensor
    ) -> Tensor:
        size = h.shape[1]
        # Of r and z both biases at once; what is m's later is n's share of the input at first.
        first_biases = torch.cat([input_bias[: 2 * size] + bias[: 2 * size], input_bias[2 * size :]])
        gates = torch.nn.functional.linear(x, input_weight, first_biases)
        r, z, m = gates.split(size, dim=-1)
        candidates = m.clone()
        m.copy_(bias[2 * size :].expand_as(m))
        hidden = gates.new_empty(len(gates) + 1, *h.shape)
        hidden[0] = h
        steps = zip(
            *(part.unbind(0) for part in (gates, gates[..., : 2 * size], r, z, m, candidates, hidden[1:])),
            strict=True,
        )
        before, to_gates = hidden[0], weight.t().contiguous()  # of which a step is up to 1.7x as fast
        for of_step, r_and_z, r_t, z_t, m_t, candidate, after in steps:
            of_step.addmm_(before, to_gates)
            r_and_z.sigmoid_()
            candidate.addcmul_(r_t, m_t).tanh_()
            torch.lerp(candidate, before, z_t, out=after)
            before = after
        ctx.save_for_backward(x, input_weight, weight, gates, candidates, hidden)
        return hidden[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, input_weight, weight, gates, n, hidden = ctx.saved_tensors
        size = n.shape[-1]
        r, z, m = gates.split(size, dim=-1)
        renewed = 1 - z
        per_candidate = torch.ops.aten.tanh_backward(renewed, n)
        # What dh is multiplied with to give dr, dz and dm; in the end these themselves.
        grad_gates = torch.empty_like(gates)
        grad_r, grad_z, grad_m = grad_gates.split(size, dim=-1)
        torch.mul(per_candidate, r, out=grad_m)
        torch.mul(grad_m, m, out=grad_r).addcmul_(grad_r, r, value=-1)
        torch.sub(hidden[1:], n, out=grad_z).mul_(renewed)
        # Of h before the first step, and after every one.
        grads = torch.cat([torch.zeros_like(hidden[:1]), gradients[0]])
        by_gate = grad_gates.unflatten(-1, (3, size))
        steps = zip(
            *(part.unbind(0) for part in (by_gate, grads[1:].unsqueeze(2), grad_gates, z)),
            pairwise(grads.unbind(0)),
            strict=True,
        )
        for of_gates, grad_of_gates, of_step, kept, (grad_before, grad) in reversed(list(steps)):
            of_gates *= grad_of_gates
            grad_before.addcmul_(grad, kept).addmm_(of_step, weight)
        flat = grad_gates.flatten(0, 1)
        grad_weight, grad_bias = flat.t() @ hidden[:-1].flatten(0, 1), flat.sum(0)
        torch.mul(grads[1:], per_candidate, out=grad_m)  # of the input's share, n's in place of m's
        grad_input_weight = flat.t() @ x.flatten(0, 1)
        grad_input_bias = torch.cat([grad_bias[: 2 * size], flat[:, 2 * size :].sum(0)])
        grad_x = (flat @ input_weight).view(x.shape) if ctx.needs_input_grad[0] else None
        return grad_x, grads[0], grad_input_weight, grad_weight, grad_input_bias, grad_bias
