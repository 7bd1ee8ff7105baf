"""GTrXL: a transformer with gates in place of residuals.

Source: Parisotto et al. 2019, arXiv 1910.06764, section 3. Glossary: x what goes on, u what attention or the
feed-forward part makes of it, r reset gate, z update gate, n candidate.

    r = sigmoid(W_r u + U_r x + b_r)
    z = sigmoid(W_z u + U_z x + b_z)
    n = tanh(W_n u + b_n + r * (U_n x + c_n))
    out = (1 - z) * n + z * x

in both places where `architectures.transformer` has x + u. z starts near sigmoid(2), so that a fresh layer
lets most of x through, as the paper's gate bias has it.

Deviations: z and 1 - z are exchanged and r is applied behind U_n, as in `architectures.gru`, which makes the
gate a `torch.nn.GRUCell`; u passes through no ReLU, for the gate has a non-linearity of its own; positions
are rotary, and all steps of an episode are attended to, where the paper has relative positions and a window
of cached segments through which no gradient flows.
"""

import torch
from torch import Tensor, nn

from architectures.transformer import Block, Transformer

GATE_BIAS = 2.0


class GTrXL(Transformer):
    """A `Transformer` with gated blocks; options and state are its own."""

    @staticmethod
    def make_block(hidden_size: int, num_heads: int, feedforward_size: int) -> Block:
        """Return a gated block."""
        return GatedBlock(hidden_size, num_heads, feedforward_size)


class GatedBlock(Block):
    """A transformer block that passes what comes in through two gates."""

    def __init__(self, hidden_size: int, num_heads: int, feedforward_size: int):
        super().__init__(hidden_size, num_heads, feedforward_size)
        self.attention_gate = Gate(hidden_size)
        self.feedforward_gate = Gate(hidden_size)

    def after_attention(self, x: Tensor, update: Tensor) -> Tensor:
        """Gate x [b t h] and attention's update."""
        return self.attention_gate(x, update)

    def after_feedforward(self, x: Tensor, update: Tensor) -> Tensor:
        """Gate x [b t h] and the feed-forward part's update."""
        return self.feedforward_gate(x, update)


class Gate(nn.Module):
    """A GRU cell whose state is what goes on and whose input is the update."""

    def __init__(self, size: int):
        super().__init__()
        self.cell = nn.GRUCell(size, size)
        with torch.no_grad():
            self.cell.bias_ih[size : 2 * size] = GATE_BIAS

    def forward(self, x: Tensor, update: Tensor) -> Tensor:
        """Return the gated x [b t h]."""
        gated = self.cell(update.flatten(0, 1), x.flatten(0, 1))
        return gated.unflatten(0, x.shape[:2])
