"""LRU: a linear recurrent unit, a diagonal linear recurrence over complex numbers.

Source: Orvieto et al. 2023, arXiv 2303.06349, section 3 and table 8. Glossary: x state, u input, Lambda
eigenvalues, gamma normaliser.

    Lambda = exp(-exp(nu) + i exp(theta))
    x_t = Lambda * x_{t-1} + exp(gamma) * (B u_t)
    y_t = Re(C x_t) + D * u_t
    out = (W y' + b) * sigmoid(V y' + c),   y' = gelu(y_t)

nu and theta start so that |Lambda| and the phase are spread over rings, and exp(gamma) = sqrt(1 - |Lambda|^2)
keeps the state's size whatever the eigenvalue. Deviations: |Lambda| is drawn such that the time constants
-1 / log|Lambda| are log-uniform over `timescales` (the paper draws it uniformly in a ring close to 1); phases
start in [0, `max_phase`], and near zero (the paper finds that small phases are what long sequences need); the
norm in front of a layer is left out (`architectures.residual_stack`).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.linear_scan import linear_scan
from architectures.residual_stack import Mixer, ResidualStack
from architectures.timescales import TIMESCALES, Timescales, log_uniform
from membench.memory import PositiveInt, State


class LRU(ResidualStack):
    """A stack of linear recurrent units with gated linear units behind them.

    Args:
        input_size: features per observation.
        hidden_size: width between layers; also the output size.
        num_layers: stacked layers.
        state_size: complex numbers that a layer carries; None means hidden_size.
        timescales: range of their initial time constants in steps.
        max_phase: largest initial angle in radians that a number turns per step.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `x` [b n 2], real and imaginary.
    """

    initialisations = TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        state_size: PositiveInt | None = None,
        timescales: Timescales = (2.0, 1000.0),
        max_phase: float = math.pi / 10,
    ):
        mixers = [
            LRUMixer(hidden_size, state_size or hidden_size, timescales, max_phase) for _ in range(num_layers)
        ]
        super().__init__(input_size, hidden_size, mixers)


class LRUMixer(Mixer):
    """One linear recurrent unit and the gated linear unit behind it."""

    def __init__(
        self,
        hidden_size: int,
        state_size: int,
        timescales: Timescales,
        max_phase: float,
    ):
        super().__init__()
        self.state_shapes = {"x": (state_size, 2)}
        self.nu_log = nn.Parameter(-log_uniform(state_size, timescales).log())
        self.theta_log = nn.Parameter((max_phase * torch.rand(state_size)).clamp(min=1e-4).log())
        self.gamma_log = nn.Parameter(0.5 * torch.log(-torch.expm1(-2 * self.nu_log.detach().exp())))
        self.B = nn.Parameter(torch.randn(state_size, hidden_size, 2) / math.sqrt(2 * hidden_size))
        self.C = nn.Parameter(torch.randn(hidden_size, state_size, 2) / math.sqrt(state_size))
        self.D = nn.Parameter(torch.randn(hidden_size))
        self.gated = nn.Linear(hidden_size, 2 * hidden_size)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the unit over x [b t h]."""
        y, after = self.run(x, state["x"])
        return F.glu(self.gated(F.gelu(y)), dim=-1), {"x": after}

    def run(self, u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs y [b t h] and the state [b n 2] after the last step."""
        decay = torch.polar(torch.exp(-self.nu_log.exp()), self.theta_log.exp())
        inputs = self.gamma_log.exp().unsqueeze(1) * torch.einsum("bti,nic->btnc", u, self.B).to(x.dtype)
        states = linear_scan(decay.expand(1, 1, -1), torch.view_as_complex(inputs), torch.view_as_complex(x))
        parts = torch.view_as_real(states)
        real, imaginary = parts.unbind(-1)
        y = real @ self.C[..., 0].T - imaginary @ self.C[..., 1].T + self.D * u
        return y, parts[:, -1]
