"""LSTM: the GRU's older relative, with a separate cell state.

Source: Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber and Cummins 2000. Glossary: h hidden
state, c cell state, i input gate, f forget gate, g candidate, o output gate.

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)      f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)
    g_t = tanh   (W_g x_t + U_g h_{t-1} + b_g)      o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)
    c_t = f_t * c_{t-1} + i_t * g_t                 h_t = o_t * tanh(c_t)

`torch.nn.LSTM` computes them. Three gates and the candidate have 4 (i + h + 2) h parameters per layer, a
third more than a GRU of the same width.

Long delays: as for the GRU, `gate_timescales` spreads the cells' time constants by the bias of f, and sets
that of i to its negative, as chrono initialisation does (`architectures.timescales`).
"""

import torch
from torch import Tensor, nn

from architectures.stacked_layers import layers_first, layers_last, zero_layers
from architectures.timescales import GATE_TIMESCALES, Timescales, carry_gate_bias
from membench.memory import Memory, PositiveInt, State, Trace


class LSTM(Memory):
    """A stack of LSTM layers over the observation.

    Args:
        input_size: features per observation.
        hidden_size: units per layer; also the output size.
        num_layers: stacked layers.
        gate_timescales: range of the cells' initial time constants in steps; None keeps PyTorch's biases.

    State: `hidden` [b h] of the last layer, `lower` [b layers-1 h] of those below it, `cell` [b layers h].
    """

    initialisations = GATE_TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 256,
        num_layers: PositiveInt = 2,
        gate_timescales: Timescales | None = (2.0, 1000.0),
    ):
        super().__init__(input_size, hidden_size)
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)
        if gate_timescales is not None:
            for layer in range(num_layers):
                input_bias, hidden_bias = (
                    getattr(self.lstm, f"bias_{source}_l{layer}") for source in ("ih", "hh")
                )
                spread_forget_gates(input_bias, hidden_bias, gate_timescales)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros."""
        cell = self.zeros(batch_size, self.lstm.num_layers, self.lstm.hidden_size)
        return {**zero_layers(self, self.lstm, batch_size), "cell": cell}

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Run every layer over x [b t i]; the output is the last layer's hidden state."""
        if x.shape[1] == 1 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            y, after = self._act(x, state)
        else:
            y, after = self._run(x, state)
        if trace is not None:
            trace.record("hidden", y)
        return y, after

    def _act(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step, x [b 1 i], with PyTorch's cell, up to three times as fast as its layer."""
        y, hidden, cells = x.squeeze(1), [], []
        before = zip(layers_first(state), state["cell"].unbind(1), self.lstm.all_weights, strict=True)
        for h, c, weights in before:
            y, c = torch.lstm_cell(y, (h, c), *weights)
            hidden.append(y)
            cells.append(c)
        return y.unsqueeze(1), {**layers_last(torch.stack(hidden)), "cell": torch.stack(cells, dim=1)}

    def _run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        cell = state["cell"].transpose(0, 1).contiguous()
        # oneDNN's LSTM has no bfloat16 on processors without AVX-512: autocast leaves it alone there.
        with torch.autocast("cpu", enabled=torch.is_autocast_enabled("cpu") and has_bfloat16()):
            y, (hidden, cell) = self.lstm(x, (layers_first(state), cell))
        return y, {**layers_last(hidden), "cell": cell.transpose(0, 1)}


def has_bfloat16() -> bool:
    """Return whether this processor can run oneDNN's kernels in bfloat16."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def spread_forget_gates(input_bias: Tensor, hidden_bias: Tensor, timescales: Timescales) -> None:
    """Give the cells of a layer time constants spread over `timescales`, by the biases [4h] of i and f."""
    size = len(input_bias) // 4
    input_gate, forget_gate = slice(0, size), slice(size, 2 * size)
    with torch.no_grad():
        input_bias[forget_gate] = carry_gate_bias(size, timescales)
        input_bias[input_gate] = -input_bias[forget_gate]
        hidden_bias[: 2 * size] = 0.0
