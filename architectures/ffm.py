"""FFM: Fast and Forgetful Memory, traces that fade and turn at fixed rates.

Source: Morad et al. 2023, arXiv 2310.04128, equations 4 to 9. Glossary: S traces, gamma decay and rotation,
m trace size, c context size.

    u_t = (W_1 x_t) * sigmoid(W_2 x_t + b_2)                                  (m numbers)
    S_t = gamma * S_{t-1} + u_t 1^T,   gamma_{jk} = exp(-|alpha_j| + i omega_k)   (m x c, complex)
    z_t = W_3 [Re S_t, Im S_t] + b_3
    y_t = LayerNorm(z_t) * sigmoid(g_t) + (W_5 x_t + b_5) * (1 - sigmoid(g_t)),   g_t = W_4 x_t + b_4

How fast a trace fades depends on the feature, how fast it turns on the context, by which the time since
something was seen can be read off. Deviations: 1 / |alpha| starts log-uniform over `timescales`, and the
periods 2 pi / omega over the same range (the paper spreads both linearly, up to the longest episode); W_1 has
no bias (`architectures.residual_stack`).
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from architectures.linear_scan import linear_scan
from architectures.residual_stack import Mixer, ResidualStack
from architectures.timescales import TIMESCALES, Timescales, log_uniform
from membench.memory import PositiveInt, State


class FFM(ResidualStack):
    """A stack of FFM layers.

    Args:
        input_size: features per observation.
        hidden_size: width between layers; also the output size.
        num_layers: stacked layers.
        trace_size: features that are remembered.
        context_size: rates at which each of them turns.
        timescales: range of the initial time constants and periods in steps.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `traces` [b m c 2], real and
    imaginary.
    """

    initialisations = TIMESCALES
    check_options: ClassVar[dict[str, Any]] = {"trace_size": 6}

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        trace_size: PositiveInt = 32,
        context_size: PositiveInt = 4,
        timescales: Timescales = (2.0, 1000.0),
    ):
        mixers = [FFMMixer(hidden_size, trace_size, context_size, timescales) for _ in range(num_layers)]
        super().__init__(input_size, hidden_size, mixers)


class FFMMixer(Mixer):
    """One layer of FFM."""

    def __init__(
        self,
        hidden_size: int,
        trace_size: int,
        context_size: int,
        timescales: Timescales,
    ):
        super().__init__()
        self.state_shapes = {"traces": (trace_size, context_size, 2)}
        self.alpha = nn.Parameter(1 / log_uniform(trace_size, timescales))
        self.omega = nn.Parameter(2 * math.pi / log_uniform(context_size, timescales))
        self.feature = nn.Linear(hidden_size, trace_size, bias=False)
        self.feature_gate = nn.Linear(hidden_size, trace_size)
        self.mix = nn.Linear(2 * trace_size * context_size, hidden_size)
        self.gate = nn.Linear(hidden_size, hidden_size)
        self.skip = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, elementwise_affine=False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the layer over x [b t h]."""
        features = self.feature(x) * self.feature_gate(x).sigmoid()
        traces = torch.view_as_real(self.run(features, torch.view_as_complex(state["traces"])))
        gate = self.gate(x).sigmoid()
        mixed = self.mix(torch.cat(traces.flatten(2, 3).unbind(-1), dim=-1))
        y = self.norm(mixed) * gate + self.skip(x) * (1 - gate)
        return y, {"traces": traces[:, -1]}

    def run(self, features: Tensor, traces: Tensor) -> Tensor:
        """Return the traces [b t m c] that features [b t m] leave, from traces [b m c] before the first."""
        decay = torch.polar(torch.exp(-self.alpha.abs()).unsqueeze(1), self.omega.unsqueeze(0))
        inputs = features.unsqueeze(-1).to(traces.dtype).expand(-1, -1, *decay.shape)
        return linear_scan(decay.expand(1, 1, -1, -1), inputs, traces)
