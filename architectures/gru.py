"""GRU: the encoder of the reference architecture, alone.

Source: Cho et al. 2014, arXiv 1406.1078. Glossary: h hidden state, x input, r reset gate, z update gate,
n candidate.

    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)
    z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + c_n))
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

These are the equations of `torch.nn.GRU`, which computes them. They differ from the paper's (and from the
deep dive's) in two ways: z and 1 - z are exchanged, which renames the gate, and the reset gate is applied
after the recurrent matrix, r * (U h), not before it, U (r * h), which lets one matrix product serve all
three gates.

Long delays: PyTorch's initial biases are near zero, so z is about 1/2 and a unit forgets within a few
steps. `gate_timescales` spreads the units' time constants instead; see `architectures.timescales`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.gru_sequence import gru_sequence
from architectures.stacked_layers import layers_first, layers_last, zero_layers
from architectures.timescales import GATE_TIMESCALES, Timescales, carry_gate_bias
from membench.memory import Memory, PositiveInt, State, Trace


class GRU(Memory):
    """A stack of GRU layers over the observation.

    Args:
        input_size: features per observation.
        hidden_size: units per layer; also the output size.
        num_layers: stacked layers.
        gate_timescales: range of the units' initial time constants in steps; None keeps PyTorch's biases.
        fused: whole sequences at once, on a CPU in one function of our own and elsewhere by PyTorch's layer;
            otherwise by operations that can be differentiated twice.

    State: `hidden` [b h] of the last layer, `lower` [b layers-1 h] of those below it.
    """

    initialisations = GATE_TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 256,
        num_layers: PositiveInt = 2,
        gate_timescales: Timescales | None = (2.0, 1000.0),
        fused: bool = True,
    ):
        super().__init__(input_size, hidden_size)
        self.gru = nn.GRU(input_size, hidden_size, num_layers, batch_first=True)
        self.fused = fused
        if gate_timescales is not None:
            spread_update_gates(self.gru, gate_timescales)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros."""
        return zero_layers(self, self.gru, batch_size)

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Run every layer over x [b t i]; the output is the last layer's hidden state."""
        y, state = run_gru(self.gru, x, state, fused=self.fused)
        if trace is not None:
            trace.record("hidden", y)
        return y, state


def run_gru(gru: nn.GRU, x: Tensor, state: State, *, fused: bool = True) -> tuple[Tensor, State]:
    """Run `gru` over x [b t i] from a state of `hidden` and `lower`; see `GRU`.

    With `fused`, on a CPU, whole sequences go through `architectures.gru_sequence` and single steps through
    PyTorch's cell. PyTorch's layer does the rest, but for what it cannot on other devices: be differentiated
    twice, without `fused`.
    """
    is_on_cpu = x.device.type == "cpu"
    if fused and is_on_cpu and not torch.is_autocast_enabled("cpu"):
        return _run_layers(gru, x, state, _run_at_once)
    if not fused and not is_on_cpu:
        return _run_layers(gru, x, state, run_by_equations)
    y, after = gru(x, layers_first(state))
    return y, layers_last(after)


Layer = Callable[..., Tensor]
"""x [b t i], h [b h] before it, weights as in `nn.GRU.all_weights` -> h at every step [b t h]."""


def _run_layers(gru: nn.GRU, x: Tensor, state: State, layer: Layer) -> tuple[Tensor, State]:
    """Run x [b t i] through `layer` with the weights of every layer of `gru`."""
    initial = [*state["lower"].unbind(1), state["hidden"]]
    last = []
    for h, weights in zip(initial, gru.all_weights, strict=True):
        x = layer(x, h, *weights)
        last.append(x[:, -1])
    return x, {"hidden": last[-1], "lower": torch.stack(last, dim=1)[:, :-1]}


def _run_at_once(x: Tensor, h: Tensor, *weights: Tensor) -> Tensor:
    if x.shape[1] == 1:  # acting
        return torch.gru_cell(x.squeeze(1), h, *weights).unsqueeze(1)
    return gru_sequence(x, h, *weights)


def run_by_equations(
    x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> Tensor:
    """Run one layer over x [b t i], step by step as in the equations above."""
    outputs = []
    for from_input in F.linear(x, weight_ih, bias_ih).unbind(1):
        r, z, n = from_input.chunk(3, -1)
        recurrent_r, recurrent_z, recurrent_n = F.linear(h, weight_hh, bias_hh).chunk(3, -1)
        r, z = torch.sigmoid(r + recurrent_r), torch.sigmoid(z + recurrent_z)
        n = torch.tanh(n + r * recurrent_n)
        h = (1 - z) * n + z * h
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def spread_update_gates(gru: nn.GRU, timescales: Timescales) -> None:
    """Give the units of every layer time constants spread over `timescales`, by the bias of z."""
    update_gate = slice(gru.hidden_size, 2 * gru.hidden_size)
    with torch.no_grad():
        for layer in range(gru.num_layers):
            getattr(gru, f"bias_ih_l{layer}")[update_gate] = carry_gate_bias(gru.hidden_size, timescales)
            getattr(gru, f"bias_hh_l{layer}")[update_gate] = 0.0
