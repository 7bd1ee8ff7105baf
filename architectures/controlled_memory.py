"""What the NTM and the DNC share: a controller that works a memory step by step, and finding by content."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from architectures.lstm import spread_forget_gates
from architectures.timescales import Timescales
from membench.memory import Memory, State, Trace


class ControlledMemory(Memory):
    """An LSTM controller beside a memory that it writes to and reads from at every step.

    What differs between such memories is `access` and what it carries from step to step: `slots` [b slot d],
    where it read and wrote last, `read` [b head slot] and `write` [b slot], and more.

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
            if trace is not None:
                memories.append(memory)
        stacked = torch.stack(features, dim=1)
        if trace is not None:
            trace.record("hidden", stacked[..., : self.output_size])
            over_time = {
                name: torch.stack([memory[name] for memory in memories], dim=1)
                for name in ("slots", "read", "write")
            }
            trace.record("memory", over_time["slots"])
            trace.record("attention.read", over_time["read"])
            trace.record("attention.write", over_time["write"].unsqueeze(2))
        return self.output(stacked), {"hidden": hidden, "cell": cell, "reads": reads, "memory": memory}


def scaled_keys(keys: Tensor, strengths: Tensor) -> Tensor:
    """Return keys [b head d] whose product with a slot is strength [b head 1] x cosine x slot's length."""
    return keys * (strengths / length(keys))


def content_weights(slots: Tensor, keys: Tensor) -> Tensor:
    """Return the weights [b head slot] that scaled keys [b head d] find by content."""
    return torch.softmax(torch.bmm(keys, slots.mT) / length(slots).mT, dim=-1)


def length(x: Tensor) -> Tensor:
    """Return the length [... 1] of x's last axis; the constant keeps its gradient finite at zero."""
    return torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-6)
