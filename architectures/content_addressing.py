"""Write to and read from a memory that is addressed by its own content, over a whole sequence in one call.

Glossary and equations as in `architectures.gru_pmm`: M memory, q^w write query, v write value, w write
weights, q read queries, a read weights. Axes: b row, t step, k read head, s slot, d feature.

    w_t = softmax(M_{t-1} q^w_t / sqrt(d));  M_t = M_{t-1} + w_t v_t^T
    a_t = softmax(M_t q_t / sqrt(d));        r_t = a_t M_t

`write_and_read_reference` is that, step by step. `write_and_read` never builds M_t inside a chunk of steps:
since writes only add, with M_0 the memory before the chunk, M_t q = M_0 q + sum over u <= t of w_u (v_u . q),
and all products v_u . q and M_0 q are known beforehand. Only the write weights depend on each other in
sequence (`_WriteWeights`); all reads are a few batched products (`_Reads`). M itself is built at the chunks'
edges.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

STEPS_PER_CHUNK = 64

softmax_backward = torch._softmax_backward_data  # pyright: ignore[reportPrivateImportUsage]


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
    for q_w, v, q in zip(
        write_queries.split(1, dim=1), values.split(1, dim=1), read_queries.split(1, dim=1), strict=True
    ):
        *found, memory = _write_and_read_once(q_w, v, q, memory)
        steps.append(found)
    reads, write_weights, read_weights = (torch.cat(parts, dim=1) for parts in zip(*steps, strict=True))
    return Accesses(reads, write_weights, read_weights, memory)


def _write_and_read_once(q_w: Tensor, v: Tensor, q: Tensor, memory: Tensor) -> Accesses:
    """Write and read in one step: q_w, v [b 1 d], q [b 1 k d], memory [b s d]."""
    scale = q.shape[-1] ** -0.5
    w = torch.softmax(torch.bmm(q_w * scale, memory.mT), dim=-1)
    memory = torch.baddbmm(memory, w.mT, v)
    a = torch.softmax(torch.bmm(q.squeeze(1) * scale, memory.mT), dim=-1)
    return Accesses(torch.bmm(a, memory).unsqueeze(1), w, a.unsqueeze(1), memory)


def write_and_read(write_queries: Tensor, values: Tensor, read_queries: Tensor, memory: Tensor) -> Accesses:
    """Return what `write_and_read_reference` does, faster and in less memory."""
    if write_queries.shape[1] == 1:  # acting: nothing to do at once
        return _write_and_read_once(write_queries, values, read_queries, memory)
    chunks = []
    for q_w, v, q in zip(
        write_queries.split(STEPS_PER_CHUNK, dim=1),
        values.split(STEPS_PER_CHUNK, dim=1),
        read_queries.split(STEPS_PER_CHUNK, dim=1),
        strict=True,
    ):
        # Rows that start from one memory share its products: one large one instead of one per row.
        before = memory[0] if memory.stride(0) == 0 else memory
        q_w = q_w * q_w.shape[-1] ** -0.5
        w = _WriteWeights.apply(q_w @ before.mT, (q_w @ v.mT).tril(-1))
        reads, a = _read(q, w, v, before)
        chunks.append((reads, w, a))
        memory = torch.baddbmm(memory, w.mT, v)
    reads, write_weights, read_weights = (
        parts[0] if len(parts) == 1 else torch.cat(parts, dim=1) for parts in zip(*chunks, strict=True)
    )
    return Accesses(reads, write_weights, read_weights, memory)


def _read(queries: Tensor, w: Tensor, v: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Return what queries [b t k d] read after each step's write in a chunk, and the weights [b t k s].

    The memory before the chunk is [b s d], or [s d] of all rows.
    """
    num_steps, num_heads = queries.shape[1:3]
    was_written = queries.new_ones(num_steps, num_steps).tril().repeat_interleave(num_heads, dim=0)
    found = _Reads.apply(queries.flatten(1, 2), w, v, memory.to(queries.dtype), was_written)
    reads, a = (x.unflatten(1, (-1, num_heads)) for x in found)
    return reads, a


class _Reads(torch.autograd.Function):
    """What queries q [b i d] read of a memory and of writes on it, and the read weights a [b i s].

        products = q v^T, a = softmax((q M^T + products w) / sqrt(d)), mixed = a w^T, reads = a M + mixed v

    with products and mixed [b i t] zero where a step had not written yet: `was_written` [i t] is 1 or 0. The
    memory M is [b s d], or [s d] of all rows; w is [b t s], v [b t d]. Sums are accumulated in place, which
    autograd would not do.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, w: Tensor, v: Tensor, memory: Tensor, was_written: Tensor
    ) -> tuple[Tensor, Tensor]:
        scale = q.shape[-1] ** -0.5
        products = (q @ v.mT).mul_(was_written)
        scores = (q @ memory.mT).baddbmm_(products, w, beta=scale, alpha=scale)
        a = torch.softmax(scores, dim=-1, dtype=scores.dtype)
        mixed = (a @ w.mT).mul_(was_written)
        ctx.save_for_backward(q, w, v, memory, was_written, products, a, mixed)
        return (a @ memory).baddbmm_(mixed, v), a

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, w, v, memory, was_written, products, a, mixed = ctx.saved_tensors
        grad_reads, grad_weights = gradients
        grad_mixed = (grad_reads @ v.mT).mul_(was_written)
        grad_a = (grad_reads @ memory.mT).baddbmm_(grad_mixed, w).add_(grad_weights)
        grad_scores = softmax_backward(grad_a, a, -1, a.dtype).mul_(q.shape[-1] ** -0.5)
        grad_products = (grad_scores @ w.mT).mul_(was_written)
        grad_q = (grad_scores @ memory).baddbmm_(grad_products, v)
        grad_w = (grad_mixed.mT @ a).baddbmm_(products.mT, grad_scores)
        grad_v = (mixed.mT @ grad_reads).baddbmm_(grad_products.mT, q)
        if memory.dim() == 3:
            grad_memory = (a.mT @ grad_reads).baddbmm_(grad_scores.mT, q)
        else:
            of_all = [x.flatten(0, 1) for x in (a, grad_reads, grad_scores, q)]
            grad_memory = (of_all[0].mT @ of_all[1]).addmm_(of_all[2].mT, of_all[3])
        return grad_q, grad_w, grad_v, grad_memory, None


class _WriteWeights(torch.autograd.Function):
    """w_t = softmax(scores_t + sum over u < t of products_{t u} w_u); scores [b t s], products [b t u].

    Kept as [t b 1 s], so that a step is written where it lies. What is not known yet is zero there, and adds
    nothing: two calls per step each way.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, products: Tensor) -> Tensor:
        num_rows, num_steps, num_slots = scores.shape
        by_step = scores.new_zeros(num_steps, num_rows, 1, num_slots)
        w = _by_row(by_step)
        for score, product, w_t in zip(
            scores.split(1, dim=1), products.split(1, dim=1), by_step.unbind(0), strict=True
        ):
            torch.softmax(torch.baddbmm(score, product, w), dim=-1, out=w_t)
        ctx.save_for_backward(by_step, products)
        return w

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        by_step, products = ctx.saved_tensors
        (grad_w,) = gradients
        grad_by_step = torch.zeros_like(by_step)
        grad_scores = _by_row(grad_by_step)
        steps = zip(
            grad_w.split(1, dim=1),
            products.mT.contiguous().split(1, dim=1),
            by_step.unbind(0),
            grad_by_step.unbind(0),
            strict=True,
        )
        for grad_w_t, product, w_t, grad_score in reversed(list(steps)):
            # What reaches w_t: its own gradient, and what later scores made of it.
            grad = torch.baddbmm(grad_w_t, product, grad_scores)
            softmax_backward(grad, w_t, -1, w_t.dtype, grad_input=grad_score)
        return grad_scores, (grad_scores @ _by_row(by_step).mT).tril(-1)


def _by_row(by_step: Tensor) -> Tensor:
    """Return [t b 1 s] seen as [b t s]."""
    return by_step.squeeze(2).transpose(0, 1)
