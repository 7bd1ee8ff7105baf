"""Write to and read from a memory that is addressed by its own content, over a whole sequence in one call.

Glossary and equations as in `architectures.gru_pmm`, queries already scaled: M memory, q^w write query,
v write value, w write weights, q read queries, a read weights. Axes: b row, t step, k read head, s slot,
d feature.

    w_t = softmax(M_{t-1} q^w_t);  M_t = M_{t-1} + w_t v_t^T;  a_t = softmax(M_t q_t);  r_t = a_t M_t

`write_and_read_reference` is that, step by step. `write_and_read` never builds M_t inside a chunk of steps:
since writes only add, with M_0 the memory before the chunk, M_t q = M_0 q + sum over u <= t of w_u (v_u . q),
and all products v_u . q and M_0 q are known beforehand. Only the write weights depend on each other in
sequence (`_WriteWeights`); all reads are a few batched products. M itself is built at the chunks' edges.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

STEPS_PER_CHUNK = 64


class Accesses(NamedTuple):
    """What was read, how, and what is left in memory."""

    reads: Tensor
    """[b t k d]."""
    write_weights: Tensor
    """[b t s]."""
    read_weights: Tensor
    """[b t k s]."""
    memory: Tensor
    """[b s d], after the last step."""


def write_and_read_reference(
    write_queries: Tensor, values: Tensor, read_queries: Tensor, memory: Tensor
) -> Accesses:
    """Write and read step by step: write_queries, values [b t d], read_queries [b t k d], memory [b s d]."""
    steps = []
    for q_w, v, q in zip(write_queries.unbind(1), values.unbind(1), read_queries.unbind(1), strict=True):
        w = torch.softmax(memory @ q_w.unsqueeze(2), dim=1)
        memory = torch.baddbmm(memory, w, v.unsqueeze(1))
        a = torch.softmax(q @ memory.mT, dim=-1)
        steps.append((a @ memory, w.squeeze(2), a))
    reads, write_weights, read_weights = (torch.stack(parts, dim=1) for parts in zip(*steps, strict=True))
    return Accesses(reads, write_weights, read_weights, memory)


def write_and_read(write_queries: Tensor, values: Tensor, read_queries: Tensor, memory: Tensor) -> Accesses:
    """Return what `write_and_read_reference` does, faster and in less memory."""
    if write_queries.shape[1] == 1:  # acting: nothing to do at once
        return write_and_read_reference(write_queries, values, read_queries, memory)
    chunks = []
    for q_w, v, q in zip(
        write_queries.split(STEPS_PER_CHUNK, dim=1),
        values.split(STEPS_PER_CHUNK, dim=1),
        read_queries.split(STEPS_PER_CHUNK, dim=1),
        strict=True,
    ):
        w = _WriteWeights.apply(q_w @ memory.mT, (q_w @ v.mT).tril(-1))
        reads, a = _read(q, w, v, memory)
        chunks.append((reads, w, a))
        memory = torch.baddbmm(memory, w.mT, v)
    reads, write_weights, read_weights = (torch.cat(parts, dim=1) for parts in zip(*chunks, strict=True))
    return Accesses(reads, write_weights, read_weights, memory)


def _read(queries: Tensor, w: Tensor, v: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Return what queries [b t k d] read after each step's write in a chunk, and the weights [b t k s]."""
    num_steps, num_heads = queries.shape[1:3]
    q = queries.flatten(1, 2)
    written = torch.ones(num_steps, num_steps, dtype=torch.bool, device=q.device).tril()
    written = written.repeat_interleave(num_heads, dim=0)
    scores = torch.baddbmm(q @ memory.mT, (q @ v.mT).masked_fill(~written, 0), w)
    a = torch.softmax(scores, dim=-1)
    reads = torch.baddbmm(a @ memory, (a @ w.mT).masked_fill(~written, 0), v)
    return reads.unflatten(1, (-1, num_heads)), a.unflatten(1, (-1, num_heads))


class _WriteWeights(torch.autograd.Function):
    """w_t = softmax(scores_t + sum over u < t of products_{t u} w_u); scores [b t s], products [b t u]."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, products: Tensor) -> Tensor:
        w = torch.empty_like(scores)
        w[:, 0] = torch.softmax(scores[:, 0], dim=-1)
        for t in range(1, scores.shape[1]):
            score = torch.baddbmm(scores[:, t : t + 1], products[:, t : t + 1, :t], w[:, :t])
            w[:, t : t + 1] = torch.softmax(score, dim=-1)
        ctx.save_for_backward(w, products)
        return w

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        w, products = ctx.saved_tensors
        (grad_w,) = gradients
        grad_scores = torch.empty_like(w)
        by_source = products.mT.contiguous()
        for t in range(w.shape[1] - 1, -1, -1):
            here = slice(t, t + 1)
            # What reaches w_t: its own gradient, and what later scores made of it.
            grad = torch.baddbmm(grad_w[:, here], by_source[:, here, t + 1 :], grad_scores[:, t + 1 :])
            weighted = grad.mul_(w[:, here])
            torch.addcmul(
                weighted, w[:, here], weighted.sum(-1, keepdim=True), value=-1, out=grad_scores[:, here]
            )
        return grad_scores, (grad_scores @ w.mT).tril(-1)
