"""minGRU: a GRU whose gates see the input alone, so that all steps can be computed at once.

Source: Feng et al. 2024, arXiv 2410.01201, section 3.1 and appendix B. Glossary: h hidden state, x input,
z update gate, n candidate.

    z_t = sigmoid(W_z x_t + b_z)
    n_t = g(W_n x_t),   g(u) = u + 1/2 where u >= 0, else sigmoid(u)
    h_t = (1 - z_t) * h_{t-1} + z_t * n_t

In silence a unit drifts towards g(0) = 1/2, as the paper has it. Deviations: the recurrence is not run in log
space but as `architectures.linear_scan` does, with the same result; z has a bias, which the time constants
are spread with (`architectures.timescales`; a bias of minus b here, for it is 1 - z that carries). A layer is
added to its input, after a projection (`architectures.residual_stack`), where the paper stacks further parts
around it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.linear_scan import linear_scan
from architectures.residual_stack import Mixer, ResidualStack
from architectures.timescales import GATE_TIMESCALES, Timescales, carry_gate_bias
from membench.memory import PositiveInt, State


class MinGRU(ResidualStack):
    """A stack of minGRU layers.

    Args:
        input_size: features per observation.
        hidden_size: units per layer; also the output size.
        num_layers: stacked layers.
        gate_timescales: range of the units' initial time constants in steps; None starts all at two steps.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `h` [b h].
    """

    initialisations = GATE_TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        gate_timescales: Timescales | None = (2.0, 1000.0),
    ):
        mixers = [MinGRUMixer(hidden_size, gate_timescales) for _ in range(num_layers)]
        super().__init__(input_size, hidden_size, mixers)


class MinGRUMixer(Mixer):
    """One layer of minGRU and a projection of its units."""

    def __init__(self, hidden_size: int, gate_timescales: Timescales | None):
        super().__init__()
        self.state_shapes = {"h": (hidden_size,)}
        self.candidate = nn.Linear(hidden_size, hidden_size, bias=False)
        self.gate = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.zeros_(self.gate.bias)
        if gate_timescales is not None:
            with torch.no_grad():
                self.gate.bias.copy_(-carry_gate_bias(hidden_size, gate_timescales))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the layer over x [b t h]."""
        h = self.run(x, state["h"])
        return self.output(h), {"h": h[:, -1]}

    def run(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the units' values [b t h], from h [b h] before the first step."""
        gate = self.gate(x)
        u = self.candidate(x)
        candidate = torch.where(u >= 0, u + 0.5, u.sigmoid())
        return linear_scan(F.sigmoid(-gate), gate.sigmoid() * candidate, h)
