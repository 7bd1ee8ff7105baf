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
softmax, e and g sigmoids of linear maps of h. Where the paper is silent: M_0 is learned and starts with
orthogonal rows, as the reference's does (`architectures.gru_pmm`); heads start at slot 0; the lengths in the
cosine are sqrt(|u|^2 + 1e-6); the controller's cells have spread time constants
(`architectures.timescales`). r feeds back into the controller, so steps follow one another.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.lstm import spread_forget_gates
from architectures.timescales import GATE_TIMESCALES, Timescales
from membench.memory import Memory, State, Trace


class ControlledMemory(Memory):
    """An LSTM controller beside a memory that it writes to and reads from at every step.

    What differs between such memories is `access` and what it carries from step to step.

    Args:
        input_size: features per observation.
        hidden_size: units of the controller; also the output size.
        read_size: features that are read per step, by all heads together.
        interface_size: numbers that the controller gives `access` per step.
        gate_timescales: range of the controller cells' initial time constants in steps; None keeps PyTorch's
            biases.

    State: `hidden` and `cell` [b h] of the controller, `reads` [b r] what was read last, and `memory`, what
    `access` carries.
    """

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: int,
        read_size: int,
        interface_size: int,
        gate_timescales: Timescales | None,
    ):
        super().__init__(input_size, hidden_size)
        self.read_size = read_size
        self.controller = nn.LSTMCell(input_size + read_size, hidden_size)
        if gate_timescales is not None:
            spread_forget_gates(self.controller.bias_ih, self.controller.bias_hh, gate_timescales)
        self.interface = nn.Linear(hidden_size, interface_size)
        self.output = nn.Linear(hidden_size + read_size, hidden_size)

    @abstractmethod
    def initial_memory_state(self, batch_size: int) -> State:
        """Return what `access` carries before the first step."""

    @abstractmethod
    def access(self, interface: Tensor, memory: State) -> tuple[Tensor, State]:
        """Write and read as the interface [b n] says; return what was read [b r] and the memory after it."""

    @abstractmethod
    def record(self, trace: Trace, memories: list[State]) -> None:
        """Record the heads and the memory after each of some steps."""

    def initial_state(self, batch_size: int) -> State:
        """Return a zero controller state and the initial memory."""
        return {
            "hidden": self.zeros(batch_size, self.output_size),
            "cell": self.zeros(batch_size, self.output_size),
            "reads": self.zeros(batch_size, self.read_size),
            "memory": self.initial_memory_state(batch_size),
        }

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Run the controller and access the memory, step by step over x [b t i]."""
        hidden, cell, reads, memory = (state[name] for name in ("hidden", "cell", "reads", "memory"))
        features, memories = [], []
        for x_t in x.unbind(1):
            inputs = torch.cat([x_t, reads.to(x_t.dtype)], dim=-1)
            hidden, cell = self.controller(inputs, (hidden, cell))
            reads, memory = self.access(self.interface(hidden), memory)
            features.append(torch.cat([hidden, reads.to(hidden.dtype)], dim=-1))
            memories.append(memory)
        stacked = torch.stack(features, dim=1)
        if trace is not None:
            trace.record("hidden", stacked[..., : self.output_size])
            self.record(trace, memories)
        return self.output(stacked), {"hidden": hidden, "cell": cell, "reads": reads, "memory": memory}


class NTM(ControlledMemory):
    """A Neural Turing Machine with one write head.

    Args:
        input_size: features per observation.
        hidden_size: units of the controller; also the output size.
        num_slots, slot_size: shape of the memory.
        num_read_heads: heads that read.
        gate_timescales: range of the controller cells' initial time constants in steps; None keeps PyTorch's
            biases.

    State: `hidden`, `cell`, `reads`, and under `memory` `slots` [b slot d] and `weights` [b head slot], the
    write head's last.
    """

    initialisations = GATE_TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: int = 128,
        num_slots: int = 64,
        slot_size: int = 32,
        num_read_heads: int = 1,
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
        weights = first.to(self.initial_slots.dtype).expand(batch_size, self.num_heads, -1)
        return {"slots": self.initial_slots.expand(batch_size, -1, -1), "weights": weights.clone()}

    def access(self, interface: Tensor, memory: State) -> tuple[Tensor, State]:
        """Move the write head, erase and add; move the read heads over the result, and read."""
        heads, erase, add = interface.split(
            [self.num_heads * self.head_size, self.slot_size, self.slot_size], dim=-1
        )
        heads = heads.unflatten(-1, (self.num_heads, self.head_size))
        before = memory["weights"]
        slots = memory["slots"]
        write = self._move(heads[:, -1:], before[:, -1:], slots)
        slots = slots * (1 - write.mT * erase.sigmoid().unsqueeze(1)) + write.mT * add.unsqueeze(1)
        read = self._move(heads[:, :-1], before[:, :-1], slots)
        return (read @ slots).flatten(1), {"slots": slots, "weights": torch.cat([read, write], dim=1)}

    def _move(self, heads: Tensor, before: Tensor, slots: Tensor) -> Tensor:
        """Return where heads [b head n] go from the weights `before` [b head slot]."""
        keys, strength, gate, shifts, sharpening = heads.split([self.slot_size, 1, 1, 3, 1], dim=-1)
        gate = gate.sigmoid()
        weights = content_weights(slots, keys, F.softplus(strength))
        weights = gate * weights + (1 - gate) * before
        back, stay, forth = shifts.softmax(-1).split(1, dim=-1)
        weights = back * weights.roll(-1, dims=-1) + stay * weights + forth * weights.roll(1, dims=-1)
        sharpened = weights.clamp(min=1e-12) ** (1 + F.softplus(sharpening))
        return sharpened / sharpened.sum(-1, keepdim=True)

    def record(self, trace: Trace, memories: list[State]) -> None:
        """Record the heads' weights and the slots."""
        weights = torch.stack([memory["weights"] for memory in memories], dim=1)
        trace.record("attention.read", weights[:, :, :-1])
        trace.record("attention.write", weights[:, :, -1:])
        trace.record("memory", torch.stack([memory["slots"] for memory in memories], dim=1))


def content_weights(slots: Tensor, keys: Tensor, strengths: Tensor) -> Tensor:
    """Return the weights [b head slot] that keys [b head d] with strengths [b head 1] find by content."""
    cosine = (keys @ slots.mT) / (length(keys) * length(slots).mT)
    return torch.softmax(strengths * cosine, dim=-1)


def length(x: Tensor) -> Tensor:
    """Return the length [... 1] of x's last axis; the constant keeps its gradient finite at zero."""
    return torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-6)
