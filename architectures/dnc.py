"""DNC: the Differentiable Neural Computer, which allocates free slots and remembers their order.

Source: Graves et al. 2016, Nature 538, "Methods". Glossary: M memory, w^w write weights, w^r read weights
(one row per head), u usage, a allocation, L links, p precedence, c content weights, pi read modes; interface:
keys k, strengths beta, erase e, value v, free gates f, allocation gate g^a, write gate g^w.

    u_t = (u + w^w - u * w^w) * prod over heads (1 - f w^r)        with the last step's weights
    a_t[phi_j] = (1 - u_t[phi_j]) prod over i < j of u_t[phi_i]    with phi the slots by rising usage
    w^w_t = g^w (g^a a_t + (1 - g^a) c(M_{t-1}, k^w, beta^w))
    M_t = M_{t-1} * (1 - w^w_t e^T) + w^w_t v^T
    L_t[i j] = (1 - w^w[i] - w^w[j]) L_{t-1}[i j] + w^w[i] p_{t-1}[j],   L_t[i i] = 0
    p_t = (1 - sum w^w_t) p_{t-1} + w^w_t
    w^r_t = pi_1 L_t^T w^r_{t-1} + pi_2 c(M_t, k^r, beta^r) + pi_3 L_t w^r_{t-1}
    r_t = w^r_t M_t;   y_t = O [h_t, r_t],   h_t = LSTM([x_t, r_{t-1}])

beta = 1 + softplus, gates and e sigmoids, pi a softmax of linear maps of h. Everything starts at zero.
Deviations: against gradients that are not finite, lengths in the cosine of c are sqrt(|u|^2 + 1e-6), and
usage is 1e-6 + (1 - 1e-6) u where slots are allocated; phi orders usage in steps of 1e-4 and the slots of
one step by their number, so that rounding seldom chooses among equally used ones: in 29 of 40 random
memories a row of 72 steps in float32 differed from itself in a batch without that, in 1 with it. The
controller's cells have spread time constants (`architectures.timescales`). The cost of a step grows with the
square of the number of slots.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from architectures.controlled_memory import ControlledMemory, content_weights, scaled_keys
from architectures.timescales import GATE_TIMESCALES, Timescales
from membench.memory import PositiveInt, State

SMALLEST_USAGE = 1e-6

USAGE_STEP = 1e-4
"""Usages nearer to each other count as equal."""


class Interface(NamedTuple):
    """What the controller asks of the memory in one step."""

    keys: Tensor
    """[b head+1 d]: of the read heads, and last of the write head."""
    strengths: Tensor
    """[b head+1 1], likewise."""
    erase: Tensor
    """[b d]."""
    value: Tensor
    """[b d]."""
    free_gates: Tensor
    """[b head 1]."""
    allocation_gate: Tensor
    """[b 1]."""
    write_gate: Tensor
    """[b 1]."""
    read_modes: Tensor
    """[b head 3]: backward, content, forward."""


class DNC(ControlledMemory):
    """A Differentiable Neural Computer.

    Args:
        input_size: features per observation.
        hidden_size: units of the controller; also the output size.
        num_slots, slot_size: shape of the memory.
        num_read_heads: heads that read.
        gate_timescales: range of the controller cells' initial time constants in steps; None keeps PyTorch's
            biases.

    State: `hidden`, `cell`, `reads`, and under `memory` `slots` [b slot d], `read` [b head slot], `write`,
    `usage` and `precedence` [b slot], `links` [b slot slot].
    """

    initialisations = GATE_TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_slots: PositiveInt = 32,
        slot_size: PositiveInt = 32,
        num_read_heads: PositiveInt = 1,
        gate_timescales: Timescales | None = (2.0, 1000.0),
    ):
        self.num_slots, self.slot_size, self.num_read_heads = num_slots, slot_size, num_read_heads
        super().__init__(
            input_size,
            hidden_size=hidden_size,
            read_size=num_read_heads * slot_size,
            interface_size=num_read_heads * (slot_size + 5) + 3 * slot_size + 3,
            gate_timescales=gate_timescales,
        )

    def initial_memory_state(self, batch_size: int) -> State:
        """Return zeros."""
        slots = (batch_size, self.num_slots)
        return {
            "slots": self.zeros(*slots, self.slot_size),
            "read": self.zeros(batch_size, self.num_read_heads, self.num_slots),
            "write": self.zeros(*slots),
            "usage": self.zeros(*slots),
            "precedence": self.zeros(*slots),
            "links": self.zeros(*slots, self.num_slots),
        }

    def access(self, interface: Tensor, memory: State) -> tuple[Tensor, State]:
        """Write and read as the interface [b n] says."""
        return access(self._parse(interface), memory)

    def _parse(self, interface: Tensor) -> Interface:
        heads, size = self.num_read_heads, self.slot_size
        sizes = [(heads + 1) * size, heads + 1, size, 3 * heads, size + heads + 2]
        keys, strengths, value, modes, gates = interface.split(sizes, dim=-1)
        erase, free, allocate, write = gates.sigmoid().split([size, heads, 1, 1], dim=-1)
        return Interface(
            keys=keys.unflatten(-1, (heads + 1, size)),
            strengths=1 + F.softplus(strengths).unsqueeze(-1),
            erase=erase,
            value=value,
            free_gates=free.unsqueeze(-1),
            allocation_gate=allocate,
            write_gate=write,
            read_modes=modes.unflatten(-1, (heads, 3)).softmax(-1),
        )


def access(interface: Interface, memory: State) -> tuple[Tensor, State]:
    """Write, link and read once; return what was read [b head*d] and the memory after it."""
    keys = scaled_keys(interface.keys, interface.strengths)
    read_keys, write_key = keys.split([keys.shape[1] - 1, 1], dim=1)
    usage = update_usage(memory, interface.free_gates)
    by_content = content_weights(memory["slots"], write_key).squeeze(1)
    chosen = torch.addcmul(by_content, interface.allocation_gate, allocate(usage) - by_content)
    write = interface.write_gate * chosen
    # Erasing and writing as M + w (v - M e).
    changes = interface.value.unsqueeze(1) - memory["slots"] * interface.erase.unsqueeze(1)
    slots = torch.addcmul(memory["slots"], write.unsqueeze(-1), changes)
    precedence = memory["precedence"]
    links = update_links(memory["links"], write, precedence)
    precedence = torch.addcmul(write + precedence, write.sum(-1, keepdim=True), precedence, value=-1)
    by_content = content_weights(slots, read_keys)
    read = read_weights(interface.read_modes, by_content, links, memory["read"])
    after = {"slots": slots, "read": read, "write": write, "usage": usage, "precedence": precedence}
    return torch.bmm(read, slots).flatten(1), {**after, "links": links}


def update_usage(memory: State, free_gates: Tensor) -> Tensor:
    """Return the usage [b slot]: what was written last is used, what was read and freed is not."""
    usage, write = memory["usage"], memory["write"]
    used = torch.addcmul(usage + write, usage, write, value=-1)
    return used * (1 - free_gates * memory["read"]).prod(1)


def allocate(usage: Tensor) -> Tensor:
    """Return the allocation weights [b slot], which sum to 1 where there is a free slot."""
    order = (usage / USAGE_STEP).round().argsort(dim=-1, stable=True)
    rising = (SMALLEST_USAGE + (1 - SMALLEST_USAGE) * usage).gather(-1, order)
    used_before = torch.cat([torch.ones_like(rising[:, :1]), rising[:, :-1].cumprod(-1)], dim=-1)
    shares = torch.addcmul(used_before, rising, used_before, value=-1)
    return torch.zeros_like(usage).scatter(-1, order, shares)


def update_links(links: Tensor, write: Tensor, precedence: Tensor) -> Tensor:
    """Return the links [b slot slot]: how much slot i was written right after slot j."""
    row, column = write.unsqueeze(1), write.unsqueeze(2)
    kept = torch.addcmul(links, column + row, links, value=-1)
    links = torch.addcmul(kept, column, precedence.unsqueeze(1))
    diagonal = torch.eye(links.shape[-1], dtype=torch.bool, device=links.device)
    return links.masked_fill(diagonal, 0)


def read_weights(read_modes: Tensor, by_content: Tensor, links: Tensor, before: Tensor) -> Tensor:
    """Return the read weights [b head slot], from those by content and those of the step before."""
    backward, content, forward = read_modes.split(1, dim=-1)
    read = torch.addcmul(content * by_content, backward, torch.bmm(before, links))
    return torch.addcmul(read, forward, torch.bmm(before, links.mT))
