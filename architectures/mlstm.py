"""mLSTM: an LSTM whose cell is a matrix, with exponential gates and no recurrent weights.

Source: Beck et al. 2024 (xLSTM), arXiv 2405.04517, equations 19 to 27 and the stabilised form of appendix
A.3. Glossary: C matrix cell, n normaliser, m stabiliser, i input gate, f forget gate, o output gate, q query,
k key, v value.

    C_t = f_t C_{t-1} + i_t v_t k_t^T,   n_t = f_t n_{t-1} + i_t k_t,   f = sigmoid, i = exp
    y_t = O (o_t * RMSNorm(C_t q_t / max(|n_t . q_t|, 1)))

per head, with keys scaled by 1 / sqrt(d). Since i can be large, C and n are kept divided by exp(m_t), with
m_t = max(log f_t + m_{t-1}, log i_t), which cancels in y. As m_t is a maximum over sums, it needs no loop,
and all steps are one call of `architectures.matrix_memory`.

Deviations: f's bias is spread by time constants (`architectures.timescales`; the paper: linearly from 3 to 6)
and i's starts at zero; the cell alone is a layer, without the block's convolution and expansion; values and
keys have no bias (`architectures.residual_stack`); the norm is an RMSNorm per head, where the authors' code
subtracts the mean, too.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.matrix_memory import write_and_read
from architectures.residual_stack import Mixer, ResidualStack, head_size, split_heads
from architectures.timescales import GATE_TIMESCALES, Timescales, carry_gate_bias
from membench.memory import PositiveInt, State

LARGEST_EXPONENT = 80.0
"""exp of more than 88 is infinite in float32, and a gradient through it not a number."""


class MLSTM(ResidualStack):
    """A stack of mLSTM cells.

    Args:
        input_size: features per observation.
        hidden_size: width; a multiple of num_heads. Also the output size.
        num_layers: stacked cells.
        num_heads: heads per cell.
        gate_timescales: range of the heads' initial time constants in steps.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `memory` [b head d d+1], the
    transpose of C with n as its last column, and `stabiliser` [b head].

    Raises:
        ValueError: if hidden_size is not a multiple of num_heads.
    """

    initialisations = GATE_TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        num_heads: PositiveInt = 4,
        gate_timescales: Timescales = (2.0, 1000.0),
    ):
        mixers = [MLSTMMixer(hidden_size, num_heads, gate_timescales) for _ in range(num_layers)]
        super().__init__(input_size, hidden_size, mixers)


class MLSTMMixer(Mixer):
    """One mLSTM cell."""

    def __init__(self, hidden_size: int, num_heads: int, gate_timescales: Timescales):
        super().__init__()
        self.num_heads, size = num_heads, head_size(hidden_size, num_heads)
        self.state_shapes = {"memory": (num_heads, size, size + 1), "stabiliser": (num_heads,)}
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.value = nn.Linear(hidden_size, hidden_size, bias=False)
        self.input_gate = nn.Linear(hidden_size, num_heads)
        self.forget_gate = nn.Linear(hidden_size, num_heads)
        nn.init.zeros_(self.input_gate.bias)
        with torch.no_grad():
            self.forget_gate.bias.copy_(carry_gate_bias(num_heads, gate_timescales))
        self.output_gate = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.RMSNorm(size, eps=1e-5)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the cell over x [b t h]."""
        q, k, v = (split_heads(part(x), self.num_heads) for part in (self.query, self.key, self.value))
        log_forget = F.logsigmoid(self.forget_gate(x))
        reads, after = run_cell(q, k * k.shape[-1] ** -0.5, v, self.input_gate(x), log_forget, state)
        return self.output(self.output_gate(x).sigmoid() * self.norm(reads).flatten(2)), after


def run_cell(
    queries: Tensor, keys: Tensor, values: Tensor, log_input: Tensor, log_forget: Tensor, state: State
) -> tuple[Tensor, State]:
    """Run the cell over queries, keys, values [b t n d] with log gates [b t n].

    Returns:
        The normalised read-outs [b t n d] and the state after the last step.
    """
    stabiliser = state["stabiliser"].unsqueeze(1)
    total_forget = log_forget.cumsum(1)
    # m_t is the largest of m_0 and the log i so far, each with what was forgotten since.
    reached = torch.cat([stabiliser, log_input - total_forget], dim=1).cummax(dim=1).values[:, 1:]
    m = total_forget + reached
    before = torch.cat([stabiliser, m[:, :-1]], dim=1)
    extended = F.pad(values, (0, 1), value=1.0)
    weighted = keys * torch.exp(log_input - m).unsqueeze(-1)
    reads, memory = write_and_read(queries, weighted, extended, log_forget + before - m, state["memory"])
    normaliser = torch.maximum(
        reads[..., -1:].abs(), torch.exp((-m).clamp(max=LARGEST_EXPONENT)).unsqueeze(-1)
    )
    return reads[..., :-1] / normaliser, {"memory": memory, "stabiliser": m[:, -1]}
