"""A memory that is only ever added to, written and read over a whole sequence in one call.

Glossary: C content, w write weights, v written value, a read weights. Axes: b row, t step, s slot, d feature.

    C_t[s d] = C_{t-1}[s d] + w_t[s] v_t[d]          (write, before read)
    r_t[d]   = sum_s a_t[s] C_t[s d]

As weights and values depend on no content, nothing has to happen in sequence: with C_0 the content before
a chunk of steps, r_t = a_t C_0 + sum over u <= t of (a_t . w_u) v_u, which is linear attention (Katharopoulos
et al. 2020, arXiv 2006.16236, equation 8, without normaliser). `write_and_read` does that chunk by chunk, at
a cost linear in time; `write_and_read_reference` is the plain loop that tests compare it with.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

STEPS_PER_CHUNK = 64


def write_and_read_reference(
    write_weights: Tensor, values: Tensor, read_weights: Tensor, content: Tensor
) -> tuple[Tensor, Tensor]:
    """Write and read step by step: weights [b t s], values [b t d], content [b s d].

    Returns:
        What was read [b t d] and the content after the last step [b s d].
    """
    reads = []
    for w, v, a in zip(write_weights.unbind(1), values.unbind(1), read_weights.unbind(1), strict=True):
        content = content + w.unsqueeze(2) * v.unsqueeze(1)
        reads.append((a.unsqueeze(1) @ content).squeeze(1))
    return torch.stack(reads, dim=1), content


def write_and_read(
    write_weights: Tensor, values: Tensor, read_weights: Tensor, content: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `write_and_read_reference` does, all steps of a chunk and all chunks at once."""
    num_steps = values.shape[1]
    steps_per_chunk = min(STEPS_PER_CHUNK, num_steps)
    w, v, a = (_chunks(x, steps_per_chunk) for x in (write_weights, values, read_weights))
    written = w.mT @ v
    after = content.unsqueeze(1) + written.cumsum(1)
    before = torch.cat([content.unsqueeze(1).to(after.dtype), after[:, :-1]], dim=1)
    reads = a @ before + (a @ w.mT).tril() @ v
    return reads.flatten(1, 2)[:, :num_steps], after[:, -1]


def _chunks(x: Tensor, steps_per_chunk: int) -> Tensor:
    """Return x [b t f] as [b chunk step f], padded with zeros, which write nothing."""
    padding = -x.shape[1] % steps_per_chunk
    return F.pad(x, (0, 0, 0, padding)).unflatten(1, (-1, steps_per_chunk))
