"""Mamba-2: Mamba with one decay per head, which makes its scan a product of matrices.

Source: Dao and Gu 2024, arXiv 2405.21060, section 7 and listing 1; parameter names and shapes of a mixer are
mamba-ssm's, with one group. Glossary: z gate, x input, B input weights, C read-out weights, dt step size, A
decay rate of a head, N states per channel.

    z, x, B, C, dt = split(in_proj(u));   x, B, C = silu(conv1d([x, B, C]))
    dt = softplus(dt + dt_bias);   h_t = exp(-dt exp(A_log)) h_{t-1} + dt B x_t^T       (per head)
    out = out_proj(RMSNorm((C^T h_t + D x_t) silu(z)))

Deviations are those of `architectures.mamba`, for the same reason: the embedding and the convolution have no
bias, no norm stands in front of a mixer, and z and C get learned biases that start at 1. exp(A_log) starts
at 1, not uniform up to 16, so that the time constant of a head is 1 / dt.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.causal_convolution import causal_convolution
from architectures.matrix_memory import write_and_read
from architectures.residual_stack import Mixer, ResidualStack, head_size
from architectures.timescales import STEP_SIZES, step_size_bias
from membench.memory import PositiveInt, State


class Mamba2(ResidualStack):
    """A stack of Mamba-2 mixers.

    Args:
        input_size: features per observation.
        hidden_size: width between layers; expand * hidden_size is a multiple of num_heads. Also the output
            size.
        num_layers: stacked layers.
        num_heads: heads per layer.
        state_size: states per channel (N, d_state).
        expand: channels inside a mixer per unit of width.
        conv_width: steps that the causal convolution sees.
        step_sizes: range of the initial step sizes dt; a head's memory lasts about 1 / dt steps.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `ssm` [b head N d] and `convolution`
    [b channel conv_width-1], the last inputs of the convolution.

    Raises:
        ValueError: if the channels are not a multiple of num_heads.
    """

    initialisations = STEP_SIZES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        num_heads: PositiveInt = 8,
        state_size: PositiveInt = 16,
        expand: PositiveInt = 2,
        conv_width: PositiveInt = 4,
        step_sizes: tuple[float, float] = (0.001, 0.1),
    ):
        mixers = [
            Mamba2Mixer(hidden_size, num_heads, state_size, expand, conv_width, step_sizes)
            for _ in range(num_layers)
        ]
        super().__init__(input_size, hidden_size, mixers)


class Mamba2Mixer(Mixer):
    """One mixer with the parameters of `mamba_ssm.Mamba2`, and the two biases."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        state_size: int,
        expand: int,
        conv_width: int,
        step_sizes: tuple[float, float],
    ):
        super().__init__()
        self.num_channels, self.state_size = expand * hidden_size, state_size
        num_convolved = self.num_channels + 2 * state_size
        self.state_shapes = {
            "ssm": (num_heads, state_size, head_size(hidden_size, num_heads, expand)),
            "convolution": (num_convolved, conv_width - 1),
        }
        self.in_proj = nn.Linear(hidden_size, self.num_channels + num_convolved + num_heads, bias=False)
        self.conv1d = nn.Conv1d(num_convolved, num_convolved, conv_width, groups=num_convolved, bias=False)
        self.dt_bias = nn.Parameter(step_size_bias(num_heads, step_sizes))
        self.A_log = nn.Parameter(torch.zeros(num_heads))
        self.D = nn.Parameter(torch.ones(num_heads))
        self.norm = nn.RMSNorm(self.num_channels, eps=1e-5)
        self.out_proj = nn.Linear(self.num_channels, hidden_size, bias=False)
        self.gate_bias = nn.Parameter(torch.ones(self.num_channels))
        self.readout_bias = nn.Parameter(torch.ones(state_size))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mix x [b t h] over time."""
        num_heads, num_states = len(self.A_log), self.state_size
        z, convolved, dt = self.in_proj(x).split(
            [self.num_channels, self.num_channels + 2 * num_states, num_heads], dim=-1
        )
        convolved, convolution = causal_convolution(self.conv1d, convolved, state["convolution"])
        inputs, B, C = F.silu(convolved).split([self.num_channels, num_states, num_states], dim=-1)
        inputs = inputs.unflatten(-1, (num_heads, -1))
        B, C = (part.unsqueeze(2).expand(-1, -1, num_heads, -1) for part in (B, C + self.readout_bias))
        dt = F.softplus(dt + self.dt_bias)
        y, ssm = write_and_read(C, B, inputs * dt.unsqueeze(-1), -dt * self.A_log.exp(), state["ssm"])
        y = (y + self.D.unsqueeze(-1) * inputs).flatten(2)
        y = self.norm(y * F.silu(z + self.gate_bias))
        return self.out_proj(y), {"ssm": ssm, "convolution": convolution}
