"""Hierarchical PMM: a small memory for the short term beside a large one for the long term.

Source: the deep dive's research directions, "short (16 x 64), long (256 x 128)"; each level is its Predictive
Memory Module (`architectures.gru_pmm`). Glossary as there.

    short: M_t = M_{t-1} + w_t v_t^T
    long:  M_t = M_{t-1} + w_t (g_t v_t)^T,   g_t = sigmoid(G e_t + b)
    y_t = LayerNorm(e_t + O LayerNorm([what is read from short, what is read from long]))

Where the deep dive is silent: both levels are written and read at every step by the same encoder, and the
long one alone has a write gate (`architectures.pmm_gated`), by which it can keep what the short one soon
writes over.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from architectures.gru_pmm import EncoderWithSlots, PredictiveMemoryModule
from architectures.timescales import GATE_TIMESCALES, Timescales
from membench.memory import PositiveInt, State, Trace


class HierarchicalPMM(EncoderWithSlots):
    """A GRU encoder, then write to and read from two Predictive Memory Modules.

    Args:
        input_size: features per observation.
        hidden_size: units per GRU layer; also the size of the latent, the output.
        num_layers: stacked GRU layers.
        short_shape: slots and slot size of the short-term memory.
        long_shape: slots and slot size of the long-term memory.
        num_read_heads: heads that read from each.
        gate_timescales: range of the encoder units' initial time constants in steps; None keeps PyTorch's
            biases.
        fused: whole sequences at once, not step by step; the same but for rounding.

    State: `hidden` and `lower` as for the GRU, and under `memory` `short` and `long` [b slot d].
    """

    initialisations = GATE_TIMESCALES
    check_options: ClassVar[dict[str, Any]] = {"short_shape": (4, 4), "long_shape": (8, 6)}

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 256,
        num_layers: PositiveInt = 2,
        short_shape: tuple[PositiveInt, PositiveInt] = (16, 64),
        long_shape: tuple[PositiveInt, PositiveInt] = (256, 128),
        num_read_heads: PositiveInt = 1,
        gate_timescales: Timescales | None = (2.0, 1000.0),
        fused: bool = True,
    ):
        def make_level(shape: tuple[int, int], *, write_gate: bool) -> PredictiveMemoryModule:
            num_slots, slot_size = shape
            return PredictiveMemoryModule(
                hidden_size,
                num_slots=num_slots,
                slot_size=slot_size,
                num_read_heads=num_read_heads,
                write_gate=write_gate,
                fused=fused,
            )

        super().__init__(
            input_size,
            lambda: Levels(
                short=make_level(short_shape, write_gate=False),
                long=make_level(long_shape, write_gate=True),
            ),
            read_size=num_read_heads * (short_shape[1] + long_shape[1]),
            hidden_size=hidden_size,
            num_layers=num_layers,
            gate_timescales=gate_timescales,
            fused=fused,
        )


class Levels(nn.Module):
    """Two Predictive Memory Modules side by side; what is read from them is concatenated."""

    def __init__(self, short: PredictiveMemoryModule, long: PredictiveMemoryModule):
        super().__init__()
        self.short, self.long = short, long

    def initial_state(self, batch_size: int) -> State:
        """Return the learned initial memory of both levels."""
        return {"short": self.short.initial_state(batch_size), "long": self.long.initial_state(batch_size)}

    def forward(self, features: Tensor, memory: State, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Write to and read from both levels; a trace records one after the other."""
        short_reads, short = self.short(features, memory["short"], trace)
        long_reads, long = self.long(features, memory["long"], trace)
        return torch.cat([short_reads, long_reads], dim=-1), {"short": short, "long": long}
