"""GRU + PMM: the reference architecture, a GRU encoder in front of the Predictive Memory Module.

Source: the deep dive (`docs/how-it-works.md`); the addressing is that of content-based attention as in
Neural Turing Machines (Graves et al. 2014, arXiv 1410.5401), without their sharpening and erase gate.
Glossary: e_t encoder output, M memory [slots S x size d], q query, v write value, w write weights over
slots, a read weights, r what a head reads.

    e_t = GRU(x_t, e_{t-1})
    w_t = softmax(M_{t-1} q^w_t / sqrt(d)),  q^w_t = Q^w e_t
    M_t = M_{t-1} + w_t v_t^T,               v_t = V e_t                     (write, before read)
    a^k_t = softmax(M_t q^k_t / sqrt(d)),    q^k_t = Q^k e_t                 (one per read head k)
    r^k_t = a^k_t M_t
    y_t = LayerNorm(e_t + O LayerNorm([r^1_t ... r^K_t]))

Where the deep dive is silent: M_0 is learned and starts with orthogonal rows of norm 1 (or orthogonal
columns, where there are fewer), for from a memory of equal slots every slot receives the same write for ever
and 64 slots act as one; LayerNorm and the residual are on the read-out and the latent, never on M itself, so
that what is written persists. Queries and values depend on the encoder's output only, never on what was read.

The deep dive names both among its remedies for vanishing gradients, so each can be left out to see what it
does: without the residual, y_t = LayerNorm(O LayerNorm([...])), and the memory is the encoder's only way out;
without LayerNorm, y_t = e_t + O [...]. The residual of a write is its equation and always there.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from architectures.content_addressing import write_and_read, write_and_read_reference
from architectures.gru import run_gru, spread_update_gates
from architectures.stacked_layers import zero_layers
from architectures.timescales import GATE_TIMESCALES, Timescales
from membench.memory import Memory, PositiveInt, State, Trace


class PredictiveMemoryModule(nn.Module):
    """A matrix of slots that one head writes to and several heads read from, by content.

    Args:
        feature_size: size of the encoder's output, from which queries and write values are computed.
        num_slots, slot_size: shape of the memory.
        num_read_heads: heads that read; their read-outs are concatenated.
        write_gate: whether what is written is multiplied with a gate; see `architectures.pmm_gated`.
        fused: whole sequences at once, not step by step.
    """

    def __init__(
        self,
        feature_size: int,
        *,
        num_slots: int,
        slot_size: int,
        num_read_heads: int,
        write_gate: bool = False,
        fused: bool = True,
    ):
        super().__init__()
        self.write_and_read = write_and_read if fused else write_and_read_reference
        self.num_read_heads, self.slot_size = num_read_heads, slot_size
        self.initial_memory = nn.Parameter(nn.init.orthogonal_(torch.empty(num_slots, slot_size)))
        self.write_query = nn.Linear(feature_size, slot_size)
        self.write_value = nn.Linear(feature_size, slot_size)
        self.read_queries = nn.Linear(feature_size, num_read_heads * slot_size)
        self.write_gate = nn.Linear(feature_size, 1) if write_gate else None

    def initial_state(self, batch_size: int) -> Tensor:
        """Return the learned initial memory [b slot d]."""
        return self.initial_memory.expand(batch_size, -1, -1)

    def forward(self, features: Tensor, memory: Tensor, trace: Trace | None = None) -> tuple[Tensor, Tensor]:
        """Write and read at every step.

        Args:
            features: [b t e], the encoder's output.
            memory: [b slot d], the memory before the first step.
            trace: records `attention.write`, `attention.read` and `memory` when given.

        Returns:
            The read-outs [b t heads*d] and the memory after the last step.
        """
        values = self.write_value(features)
        if self.write_gate is not None:
            values = self.write_gate(features).sigmoid() * values
        read_queries = self.read_queries(features).unflatten(-1, (self.num_read_heads, self.slot_size))
        found = self.write_and_read(self.write_query(features), values, read_queries, memory)
        if trace is not None:
            written = found.write_weights.unsqueeze(3) * values.unsqueeze(2)
            trace.record("attention.write", found.write_weights.unsqueeze(2))
            trace.record("attention.read", found.read_weights)
            trace.record("memory", memory.unsqueeze(1) + written.cumsum(1))
        return found.reads.flatten(2), found.memory


class Slots(Protocol):
    """What an encoder writes to and reads from: `PredictiveMemoryModule`, or several of them as one."""

    def initial_state(self, batch_size: int) -> Any:
        """Return the memory before the first step: a tensor, or a dict of them."""
        ...

    def __call__(self, features: Tensor, memory: Any, trace: Trace | None = None) -> tuple[Tensor, Any]:
        """Return what was read [b t r] and the memory after the last step."""
        ...


class EncoderWithSlots(Memory):
    """A GRU encoder that writes to slots and reads from them, and a latent of both.

    Args:
        input_size: features per observation.
        make_slots: makes the module that is written to and read from.
        read_size: features of what it reads.
        hidden_size, num_layers, gate_timescales, fused, residual, layer_norm: as for `GRUPMM`.

    State: `hidden` and `lower` as for the GRU, `memory` that of the slots.
    """

    def __init__(
        self,
        input_size: int,
        make_slots: Callable[[], Slots],
        *,
        read_size: int,
        hidden_size: int,
        num_layers: int,
        gate_timescales: Timescales | None,
        fused: bool,
        residual: bool = True,
        layer_norm: bool = True,
    ):
        super().__init__(input_size, hidden_size)
        self.encoder = nn.GRU(input_size, hidden_size, num_layers, batch_first=True)
        self.pmm = make_slots()
        self.fused, self.residual = fused, residual
        make_norm = nn.LayerNorm if layer_norm else nn.Identity
        self.read_norm = make_norm(read_size)
        self.read_projection = nn.Linear(read_size, hidden_size)
        self.latent_norm = make_norm(hidden_size)
        if gate_timescales is not None:
            spread_update_gates(self.encoder, gate_timescales)

    def initial_state(self, batch_size: int) -> State:
        """Return a zero encoder state and the slots' initial memory."""
        encoder_state = zero_layers(self, self.encoder, batch_size)
        return {**encoder_state, "memory": self.pmm.initial_state(batch_size)}

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Encode x [b t i], write, read, and return the latent [b t h]."""
        features, encoder_state = run_gru(self.encoder, x, state, fused=self.fused)
        reads, memory = self.pmm(features, state["memory"], trace)
        if trace is not None:
            trace.record("hidden", features)
        latent = self.read_projection(self.read_norm(reads))
        y = self.latent_norm(features + latent if self.residual else latent)
        return y, {**encoder_state, "memory": memory}


class GRUPMM(EncoderWithSlots):
    """A GRU encoder, then write to and read from the Predictive Memory Module.

    Args:
        input_size: features per observation.
        hidden_size: units per GRU layer; also the size of the latent, the output.
        num_layers: stacked GRU layers.
        num_slots, slot_size: shape of the memory.
        num_read_heads: heads that read.
        gate_timescales: range of the encoder units' initial time constants in steps; None keeps PyTorch's
            biases.
        fused: whole sequences at once, not step by step; the same but for rounding.
        residual: add the encoder's output to what was read; without, all goes through the memory.
        layer_norm: normalise what was read, and the latent.

    State: `hidden` and `lower` as for the GRU, `memory` [b slot d].
    """

    initialisations = GATE_TIMESCALES
    write_gate: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 256,
        num_layers: PositiveInt = 2,
        num_slots: PositiveInt = 64,
        slot_size: PositiveInt = 128,
        num_read_heads: PositiveInt = 4,
        gate_timescales: Timescales | None = (2.0, 1000.0),
        fused: bool = True,
        residual: bool = True,
        layer_norm: bool = True,
    ):
        def make_slots() -> PredictiveMemoryModule:
            return PredictiveMemoryModule(
                hidden_size,
                num_slots=num_slots,
                slot_size=slot_size,
                num_read_heads=num_read_heads,
                write_gate=self.write_gate,
                fused=fused,
            )

        super().__init__(
            input_size,
            make_slots,
            read_size=num_read_heads * slot_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            gate_timescales=gate_timescales,
            fused=fused,
            residual=residual,
            layer_norm=layer_norm,
        )
