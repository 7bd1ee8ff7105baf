"""sLSTM: an LSTM with exponential gates, a normaliser, and recurrent weights within heads.

Source: Beck et al. 2024 (xLSTM), arXiv 2405.04517, equations 8 to 18. Glossary: h hidden state, c cell,
n normaliser, m stabiliser, i input gate, f forget gate, z candidate, o output gate, R recurrent weights.

    log i_t = W_i x_t + R_i h_{t-1} + b_i       log f_t = logsigmoid(W_f x_t + R_f h_{t-1} + b_f)
    z_t = tanh(W_z x_t + R_z h_{t-1})           o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)
    m_t = max(log f_t + m_{t-1}, log i_t)
    c_t = exp(log f_t + m_{t-1} - m_t) c_{t-1} + exp(log i_t - m_t) z_t,    n_t likewise with 1 for z_t
    h_t = o_t * c_t / n_t;   y_t = O RMSNorm(h_t), with a norm per head

R has one block per head. h feeds back, so steps follow one another; the inputs' share of all gates is one
product for the whole sequence. Deviations: z has no bias, f's bias is spread by time constants and i's is its
negative, as the LSTM's are (`architectures.timescales`), and a cell is a layer without the block's
convolution and feed-forward part (`architectures.residual_stack`); the norm of a head is an RMSNorm, where
the authors' code subtracts the mean, too. Before the first step nothing is held, n_0 = 0, and m_0 counts as
minus infinity: then exp(b_i) is a factor of c and n alike, cancels in h, and b_i gets no gradient.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.residual_stack import Mixer, ResidualStack, head_size
from architectures.timescales import GATE_TIMESCALES, Timescales, carry_gate_bias
from membench.memory import PositiveInt, State


class SLSTM(ResidualStack):
    """A stack of sLSTM cells.

    Args:
        input_size: features per observation.
        hidden_size: width; a multiple of num_heads. Also the output size.
        num_layers: stacked cells.
        num_heads: heads per cell, which do not see each other's h.
        gate_timescales: range of the units' initial time constants in steps.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `h`, `c`, `n` and `m` [b h].

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
        mixers = [SLSTMMixer(hidden_size, num_heads, gate_timescales) for _ in range(num_layers)]
        super().__init__(input_size, hidden_size, mixers)


class SLSTMMixer(Mixer):
    """One sLSTM cell."""

    def __init__(self, hidden_size: int, num_heads: int, gate_timescales: Timescales):
        super().__init__()
        size = head_size(hidden_size, num_heads)
        self.state_shapes = dict.fromkeys(("h", "c", "n", "m"), (hidden_size,))
        self.inputs = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        bound = size**-0.5
        self.recurrent = nn.Parameter(torch.empty(num_heads, size, 4 * size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(3, hidden_size))
        self.norm = nn.RMSNorm(size, eps=1e-5)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)
        with torch.no_grad():
            self.bias[1] = carry_gate_bias(hidden_size, gate_timescales)
            self.bias[0] = -self.bias[1]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the cell over x [b t h]."""
        h, after = self.run(self.inputs(x), state)
        per_head = h.unflatten(-1, (len(self.recurrent), -1))
        return self.output(self.norm(per_head).flatten(2)), after

    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h [b t h] and the state after the last step, given the inputs' share of gates [b t 4h]."""
        i_bias, f_bias, o_bias = self.bias.unbind(0)
        bias = torch.cat([i_bias, f_bias, torch.zeros_like(o_bias), o_bias])
        recurrent = self._all_heads()
        h, c, n, m = (state[name] for name in ("h", "c", "n", "m"))
        m = torch.where(n > 0, m, -torch.inf)  # n is positive after any step
        outputs = []
        for share in (inputs + bias).unbind(1):
            i, f, z, o = (share + h.to(recurrent.dtype) @ recurrent).chunk(4, dim=-1)
            kept = F.logsigmoid(f) + m
            m = torch.maximum(kept, i)
            keep, write = torch.exp(kept - m), torch.exp(i - m)
            c = torch.addcmul(keep * c, write, torch.tanh(z))
            n = torch.addcmul(write, keep, n)
            h = o.sigmoid() * c / n
            outputs.append(h)
        return torch.stack(outputs, dim=1), {"h": h, "c": c, "n": n, "m": m}

    def _all_heads(self) -> Tensor:
        """Return R of all heads in one matrix [h 4h], zero between heads: one product per step."""
        num_heads, size, _ = self.recurrent.shape
        by_head = torch.block_diag(*self.recurrent).unflatten(-1, (num_heads, 4, size))
        return by_head.transpose(1, 2).flatten(1)
