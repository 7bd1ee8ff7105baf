"""A GRU layer over a whole sequence in one call, faster on a CPU than `torch.nn.GRU`.

Equations and names as in `architectures.gru`; m_t = U_n h_{t-1} + c_n is the recurrent half of the candidate.
Axes: time first inside this file, [t b ...], so that a step is contiguous.

PyTorch's layer is a loop of small operations, forwards and, by autograd, many more of them backwards. Here
one matrix product serves the inputs of all steps, a step forwards takes two products into buffers that hold
everything else already, and on the way back, whatever does not depend on the gradient is computed for all
steps at once:

    dn = dh (1 - z) (1 - n^2)        dz = dh (h_{t-1} - n) z (1 - z)
    dm = dn r                        dr = dn m r (1 - r)
    dh_{t-1} = dh z + dr U_r + dz U_z + dm U_n

which leaves three operations per step, and one product at the end for each weight and for the inputs.
`torch.nn.GRU` is the reference that tests compare it with.
"""

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
    inputs = torch.nn.functional.linear(x.transpose(0, 1), input_weight, input_bias)
    return _GRUSequence.apply(inputs, h, weight, bias).transpose(0, 1)


class _GRUSequence(torch.autograd.Function):
    """The recurrence, given every step's share of the gates that comes from the input, [t b 3h]."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        size = h.shape[1]
        gates = inputs[..., : 2 * size] + bias[: 2 * size]
        candidates = inputs[..., 2 * size :].clone()
        recurrent = bias[2 * size :].expand_as(candidates).contiguous()
        hidden = inputs.new_empty(len(inputs) + 1, *h.shape)
        hidden[0] = h
        to_gates, to_candidate = weight[: 2 * size].t(), weight[2 * size :].t()
        before, *following = hidden.unbind(0)
        steps = zip(gates.unbind(0), candidates.unbind(0), recurrent.unbind(0), following, strict=True)
        for gate, candidate, m, after in steps:
            r, z = gate.addmm_(before, to_gates).sigmoid_().split(size, dim=1)
            candidate.addcmul_(r, m.addmm_(before, to_candidate)).tanh_()
            torch.lerp(candidate, before, z, out=after)
            before = after
        ctx.save_for_backward(gates, candidates, recurrent, hidden, weight)
        return hidden[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gates, n, m, hidden, weight = ctx.saved_tensors
        (grad_hidden,) = gradients
        size = n.shape[-1]
        r, z = gates.split(size, dim=-1)
        per_candidate = (1 - z) * (1 - n * n)
        # What dh is multiplied with to give dr, dz and dm.
        per_gate = torch.stack(
            [per_candidate * m * r * (1 - r), (hidden[:-1] - n) * z * (1 - z), per_candidate * r], dim=2
        )
        grads = grad_hidden.clone(memory_format=torch.contiguous_format)
        grad_h = torch.zeros_like(hidden[0])
        by_step = list(zip(grads.unbind(0), per_gate.unbind(0), z.unbind(0), strict=True))
        for grad, coefficients, kept in reversed(by_step):
            grad += grad_h
            coefficients *= grad.unsqueeze(1)
            grad_h = torch.addmm(grad * kept, coefficients.flatten(1), weight)
        grad_recurrent = per_gate.flatten(2)
        flat = grad_recurrent.flatten(0, 1)
        grad_inputs = grad_recurrent.clone()
        torch.mul(grads, per_candidate, out=grad_inputs[..., 2 * size :])
        return grad_inputs, grad_h, flat.t() @ hidden[:-1].flatten(0, 1), flat.sum(0)
