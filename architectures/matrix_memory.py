"""A matrix that decays and is added to, written and read over a whole sequence in one call.

Glossary: S memory, alpha decay, k key, v value, q query, beta write strength. Axes: b row, t step, n head,
d key feature, e value feature.

    S_t = alpha_t S_{t-1} + k_t v_t^T;   y_t = S_t^T q_t                            (`write_and_read`)
    S_t = alpha_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T                 (`correct_and_read`)

The first is linear attention with a decay, computed in chunks of steps as in Mamba-2 (Dao and Gu 2024, arXiv
2405.21060, section 6): inside a chunk attention over its own steps, weighted with what decays between them,
and one product with the memory before it. The second, the gated delta rule, writes only what the memory does
not hold yet. It is the first with the values v'_t = beta_t (v_t - alpha_t S_{t-1}^T k_t) in place of v_t,
which solve a triangular system per chunk (Yang et al. 2024, arXiv 2412.06464, section 3.3). The functions
`..._reference` are the plain loops that tests compare with.
"""

import torch
from torch import Tensor

STEPS_PER_CHUNK = 64


def write_and_read_reference(
    queries: Tensor, keys: Tensor, values: Tensor, log_decays: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """Write and read step by step.

    Args:
        queries: [b t n d].
        keys: [b t n d].
        values: [b t n e].
        log_decays: log alpha [b t n], none above 0.
        memory: [b n d e], before the first step.

    Returns:
        What was read [b t n e] and the memory after the last step.
    """
    reads = []
    for t in range(queries.shape[1]):
        written = keys[:, t].unsqueeze(-1) * values[:, t].unsqueeze(-2)
        memory = log_decays[:, t, :, None, None].exp() * memory + written
        reads.append(torch.einsum("bnd,bnde->bne", queries[:, t], memory))
    return torch.stack(reads, dim=1), memory


def correct_and_read_reference(
    queries: Tensor, keys: Tensor, values: Tensor, strengths: Tensor, log_decays: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """Correct and read step by step: as `write_and_read_reference`, with the strengths beta [b t n]."""
    reads = []
    for t in range(queries.shape[1]):
        memory = log_decays[:, t, :, None, None].exp() * memory
        found = torch.einsum("bnd,bnde->bne", keys[:, t], memory)
        correction = strengths[:, t].unsqueeze(-1) * (values[:, t] - found)
        memory = memory + keys[:, t].unsqueeze(-1) * correction.unsqueeze(-2)
        reads.append(torch.einsum("bnd,bnde->bne", queries[:, t], memory))
    return torch.stack(reads, dim=1), memory


def write_and_read(
    queries: Tensor, keys: Tensor, values: Tensor, log_decays: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `write_and_read_reference` does, all steps of a chunk at once."""
    reads = []
    for q, k, v, log_decay in _chunks(queries, keys, values, log_decays.unsqueeze(-1)):
        read, memory = _Chunk(k, log_decay).write_and_read(q, v, memory)
        reads.append(read)
    return torch.cat(reads, dim=2).transpose(1, 2), memory


def correct_and_read(
    queries: Tensor, keys: Tensor, values: Tensor, strengths: Tensor, log_decays: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `correct_and_read_reference` does, all steps of a chunk at once."""
    reads = []
    for q, k, v, beta, log_decay in _chunks(
        queries, keys, values, strengths.unsqueeze(-1), log_decays.unsqueeze(-1)
    ):
        chunk = _Chunk(k, log_decay)
        read, memory = chunk.write_and_read(q, chunk.corrections(v, beta, memory), memory)
        reads.append(read)
    return torch.cat(reads, dim=2).transpose(1, 2), memory


def _chunks(*sequences: Tensor) -> zip:
    """Return the sequences [b t n ...] in chunks of steps [b n c ...], side by side."""
    return zip(*(x.transpose(1, 2).split(STEPS_PER_CHUNK, dim=2) for x in sequences), strict=True)


class _Chunk:
    """The keys [b n c d] and log decays [b n c 1] of a chunk of c steps.

    Attributes:
        since_start: [b n c 1], what is left at each step of the memory before the chunk.
        since_step: [b n c c], what is left at a step of what an earlier one, or it itself, wrote.
    """

    def __init__(self, keys: Tensor, log_decays: Tensor):
        self.keys = keys
        total = log_decays.cumsum(dim=2)
        self.since_start = total.exp()
        num_steps = keys.shape[2]
        later = torch.ones(num_steps, num_steps, dtype=torch.bool, device=keys.device).triu(1)
        self.since_step = (total - total.mT).masked_fill(later, -torch.inf).exp()

    def write_and_read(self, queries: Tensor, values: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the queries [b n c d] read, and the memory [b n d e] after the chunk."""
        within = (queries @ self.keys.mT * self.since_step) @ values
        reads = within + self.since_start * (queries @ memory)
        left_at_end = self.since_step[:, :, -1].unsqueeze(-1)
        written = (self.keys * left_at_end).mT @ values
        return reads, self.since_start[:, :, -1:] * memory + written

    def corrections(self, values: Tensor, strengths: Tensor, memory: Tensor) -> Tensor:
        """Return v' [b n c e], what of the values the memory does not hold, times the strengths [b n c 1]."""
        missing = strengths * (values - self.since_start * (self.keys @ memory))
        overlaps = (strengths * (self.keys @ self.keys.mT) * self.since_step).tril(-1)
        # What this very chunk has written counts too: (1 + overlaps) v' = missing.
        system = overlaps.to(memory.dtype)
        return torch.linalg.solve_triangular(
            system, missing.to(memory.dtype), upper=False, unitriangular=True
        )
