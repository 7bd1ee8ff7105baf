"""NTM: the Neural Turing Machine, a controller that moves heads over slots by content and by place.

Source: Graves et al. 2014, arXiv 1410.5401, section 3. Glossary: M memory, h controller output, w weights of
a head over slots, k key, beta strength, g interpolation gate, s shifts, gamma sharpening, e erase, a add,
r what is read.

    h_t = LSTM([x_t, r_{t-1}])
    by content    w^c = softmax(beta cos(M, k))                                 (equations 5, 6)
    interpolated  w^g = g w^c + (1 - g) w_{t-1}                                 (7)
    shifted       w^s(i) = sum over j in {-1, 0, 1} of w^g(i - j) s(j)          (8)
    sharpened     w = (w^s)^gamma / sum (w^s)^gamma                             (9)
    M_t = M_{t-1} * (1 - w_t e_t^T) + w_t a_t^T                                 (3, 4)
    r_t = M_t^T w_t;   y_t = O [h_t, r_t]

One write head, and heads that read what it has just written. beta = softplus, gamma = 1 + softplus, s a
softmax, e and g sigmoids of linear maps of h. Deviation: w^s is at least 1e-12 where it is sharpened, for its
gradient at zero may be infinite. Where the paper is silent: M_0 is learned and starts with orthogonal rows,
or columns where there are fewer of them, as the reference's does (`architectures.gru_pmm`); heads start at
slot 0; the lengths in the cosine are sqrt(|u|^2 + 1e-6); the controller's cells have spread time constants
(`architectures.timescales`). r feeds back into the controller, so steps follow one another.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.controlled_memory import ControlledMemory, content_weights, scaled_keys
from architectures.timescales import GATE_TIMESCALES, Timescales
from membench.memory import PositiveInt, State


class Moves(NamedTuple):
    """What the controller asks of heads in one step."""

    keys: Tensor
    """[b head d], times strength over length."""
    gate: Tensor
    """[b head 1]."""
    shifts: Tensor
    """[b head 3]: back, stay, forth."""
    sharpening: Tensor
    """[b head 1]."""


class NTM(ControlledMemory):
    """A Neural Turing Machine with one write head.

    Args:
        input_size: features per observation.
        hidden_size: units of the controller; also the output size.
        num_slots, slot_size: shape of the memory.
        num_read_heads: heads that read.
        gate_timescales: range of the controller cells' initial time constants in steps; None keeps PyTorch's
            biases.

    State: `hidden`, `cell`, `reads`, and under `memory` `slots` [b slot d] and where the heads last were,
    `read` [b head slot] and `write` [b slot].
    """

    initialisations = GATE_TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_slots: PositiveInt = 64,
        slot_size: PositiveInt = 32,
        num_read_heads: PositiveInt = 1,
        gate_timescales: Timescales | None = (2.0, 1000.0),
    ):
        self.num_heads, self.slot_size = num_read_heads + 1, slot_size
        # Of every head: key, strength, gate, three shifts and sharpening.
        self.head_size = slot_size + 6
        super().__init__(
            input_size,
            hidden_size=hidden_size,
            read_size=num_read_heads * slot_size,
            interface_size=self.num_heads * self.head_size + 2 * slot_size,
            gate_timescales=gate_timescales,
        )
        self.initial_slots = nn.Parameter(nn.init.orthogonal_(torch.empty(num_slots, slot_size)))

    def initial_memory_state(self, batch_size: int) -> State:
        """Return the learned slots, with all heads at the first."""
        num_slots = len(self.initial_slots)
        first = torch.arange(num_slots, device=self.initial_slots.device) == 0
        weights = first.to(self.initial_slots.dtype).expand(batch_size, self.num_heads, -1).clone()
        slots = self.initial_slots.expand(batch_size, -1, -1)
        return {"slots": slots, "read": weights[:, 1:], "write": weights[:, 0]}

    def access(self, interface: Tensor, memory: State) -> tuple[Tensor, State]:
        """Move the write head, erase and add; move the read heads over the result, and read."""
        heads, erase, add = interface.split(
            [self.num_heads * self.head_size, self.slot_size, self.slot_size], dim=-1
        )
        moves = self._parse(heads.unflatten(-1, (self.num_heads, self.head_size)))
        reading, writing = zip(*(part.split([self.num_heads - 1, 1], dim=1) for part in moves), strict=True)
        slots = memory["slots"]
        write = _move(Moves(*writing), memory["write"].unsqueeze(1), slots)
        # Equations 3 and 4 as M + w (a - M e).
        slots = torch.addcmul(slots, write.mT, add.unsqueeze(1) - slots * erase.sigmoid().unsqueeze(1))
        read = _move(Moves(*reading), memory["read"], slots)
        return torch.bmm(read, slots).flatten(1), {"slots": slots, "read": read, "write": write.squeeze(1)}

    def _parse(self, heads: Tensor) -> Moves:
        """Return what the interface [b head n] says of all heads."""
        keys, strength, gate, shifts, sharpening = heads.split([self.slot_size, 1, 1, 3, 1], dim=-1)
        return Moves(
            keys=scaled_keys(keys, F.softplus(strength)),
            gate=gate.sigmoid(),
            shifts=shifts.softmax(-1),
            sharpening=1 + F.softplus(sharpening),
        )


def _move(moves: Moves, before: Tensor, slots: Tensor) -> Tensor:
    """Return where heads go from the weights `before` [b head slot]."""
    weights = torch.addcmul(before, moves.gate, content_weights(slots, moves.keys) - before)
    back, stay, forth = moves.shifts.split(1, dim=-1)
    shifted = torch.addcmul(stay * weights, back, weights.roll(-1, dims=-1))
    shifted = torch.addcmul(shifted, forth, weights.roll(1, dims=-1))
    # Equation 9 as a softmax, which no power makes zero over zero.
    return torch.softmax(moves.sharpening * shifted.clamp(min=1e-12).log(), dim=-1)
