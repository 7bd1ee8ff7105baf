"""Sparse PMM: a thousand slots and more, of which a step touches a few.

Source: the deep dive's research direction "top-k attention to scale to 1000+ memory slots"; finding the k
best of many addresses without looking at them all is product-key addressing (Lample et al. 2019, arXiv
1907.05242, section 3.2). Everything else is `architectures.pmm_addressed`. Glossary: q query, A and B halves
of addresses, s score, k slots per step.

    address of slot (i, j) = [A_i, B_j],   i and j below sqrt(slots);   s_ij = A_i . q_1 + B_j . q_2
    w_t = softmax of the k largest tau s_ij / sqrt(d), and nothing elsewhere

The k largest sums of one of n numbers and one of n others lie among the k largest of each, so that a step
scores 2 sqrt(slots) half addresses and k^2 sums, and writes and reads k slots. What still grows with the
number of slots is the state itself: it is copied once per `STEPS_PER_CHUNK` steps and once per acting step.
Gradients reach the k slots of a step alone.

Deviations: the deep dive's fragment puts 1 on the k best slots; here their scores' softmax weighs them, or no
gradient would reach the query. A slot's address cannot be learned alone, for its halves are shared. And what
follows from looking at a few slots alone: a zero observation's query is zero at first, which ties all slots,
so that it reads the same few whatever was written, until the encoder's part of the query has been learned.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from architectures.pmm_addressed import Access, AddressedPMM, orthogonal_rows
from architectures.timescales import Timescales
from membench.memory import PositiveInt

STEPS_PER_CHUNK = 16

TIE_BREAK = 1e-30
"""By how much a slot's score of zero is below that of the slot before it: which of equal ones `topk` takes
depends on the device. Any other score is too large to be changed by it."""


class SparsePMM(AddressedPMM):
    """An `AddressedPMM` that writes to and reads from few of many slots.

    Args:
        input_size: features per observation.
        hidden_size: units of the GRU; also the output size.
        num_slots: slots of the memory; a square number.
        slot_size: features of a slot's address, and of its content; even.
        num_active_slots: slots that a step touches (k), at most the square root of num_slots.
        gate_timescales: range of the GRU units' initial time constants in steps; None keeps PyTorch's biases.
        fused: the GRU in one function of our own; the same but for rounding.

    State: `hidden` [b h] the controller's output, `content` [b slot d].

    Raises:
        ValueError: for a number of slots or a size that is not as above.
    """

    check_options: ClassVar[dict[str, Any]] = {"num_active_slots": 2}

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 256,
        num_slots: PositiveInt = 1024,
        slot_size: PositiveInt = 64,
        num_active_slots: PositiveInt = 8,
        gate_timescales: Timescales | None = (2.0, 1000.0),
        fused: bool = True,
    ):
        if math.isqrt(num_slots) ** 2 != num_slots:
            raise ValueError(f"num_slots {num_slots}: must be a square number")
        if slot_size % 2:
            raise ValueError(f"slot_size {slot_size}: must be even")
        if not 1 <= num_active_slots <= math.isqrt(num_slots):
            raise ValueError(
                f"num_active_slots {num_active_slots}: must be from 1 to {math.isqrt(num_slots)}, the square "
                "root of num_slots"
            )
        self.num_active_slots = num_active_slots
        super().__init__(
            input_size,
            hidden_size=hidden_size,
            num_slots=num_slots,
            slot_size=slot_size,
            gate_timescales=gate_timescales,
            fused=fused,
        )

    def make_addresses(self) -> nn.Parameter:
        """Return the halves of addresses [2 sqrt(slot) d/2]."""
        halves = [orthogonal_rows(math.isqrt(self.num_slots), self.slot_size // 2) for _ in range(2)]
        return nn.Parameter(torch.stack(halves))

    def access(self, queries: Tensor, values: Tensor, content: Tensor) -> Access:
        """Write the values [b t d] under the queries [b t d] and read under the same."""
        scores, first, second = self._best(queries)
        weights = self.weights_of(scores)
        slots = first * self.addresses.shape[1] + second
        reads = []
        pieces = (x.split(STEPS_PER_CHUNK, dim=1) for x in (weights, slots, values))
        for w, s, v in zip(*pieces, strict=True):
            read, content = write_and_read_few(w, s, v, content)
            reads.append(read)
        halves = [self.addresses[0][first], self.addresses[1][second]]
        addresses = (weights.unsqueeze(2) @ torch.cat(halves, dim=-1)).squeeze(2)
        return Access(addresses, torch.cat(reads, dim=1), content, weights, slots)

    def _best(self, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the k best scores [b t k] and the numbers of the two half addresses that they come from."""
        k, side = self.num_active_slots, self.addresses.shape[1]
        order = TIE_BREAK * torch.arange(side, dtype=queries.dtype, device=queries.device)
        halves = [
            (query @ addresses.T - behind).topk(k, dim=-1)
            for query, addresses, behind in zip(
                queries.chunk(2, dim=-1), self.addresses, (side * order, order), strict=True
            )
        ]
        (s_1, i_1), (s_2, i_2) = halves
        sums = (s_1.unsqueeze(-1) + s_2.unsqueeze(-2)).flatten(-2)
        scores, places = sums.topk(k, dim=-1)
        return scores, i_1.gather(-1, places // k), i_2.gather(-1, places % k)


def write_and_read_few(
    weights: Tensor, slots: Tensor, values: Tensor, content: Tensor
) -> tuple[Tensor, Tensor]:
    """Write to and read from the same few slots at every step of a chunk.

    Args:
        weights: [b t k].
        slots: [b t k], different ones per step.
        values: [b t d].
        content: [b slot d], before the first step.

    Returns:
        What was read [b t d], each step's own write included, and the content after the last step.
    """
    size = content.shape[-1]
    places = slots.flatten(1).unsqueeze(-1).expand(-1, -1, size)
    before = content.gather(1, places).unflatten(1, slots.shape[1:])
    # How much of what step u wrote step t reads: the products of their weights on the slots they share.
    shared = slots[:, :, None, :, None] == slots[:, None, :, None, :]
    overlap = (weights[:, :, None, :, None] * weights[:, None, :, None, :] * shared).sum((3, 4)).tril()
    reads = (weights.unsqueeze(2) @ before).squeeze(2) + overlap @ values
    written = (weights.unsqueeze(-1) * values.unsqueeze(2)).flatten(1, 2)
    return reads, content.scatter_add(1, places, written.to(content.dtype))
