"""Mamba: a state-space model whose step size, input and read-out weights depend on the input.

Source: Gu and Dao 2023, arXiv 2312.00752, section 3 and algorithm 2; parameter names and shapes of a mixer
are mamba-ssm's, so that weights move both ways. Glossary: D_inner = expand * hidden_size channels, N states
per channel, x and z the two halves of the input projection, delta, B, C as in
`architectures.selective_scan`.

    x, z        = in_proj(u)
    x           = silu(conv1d(x))                                   (causal, per channel)
    delta, B, C = x_proj(x);   delta = softplus(dt_proj(delta))
    y           = selective_scan(x, delta, -exp(A_log), B, C) + D x
    out         = out_proj(y silu(z))

A layer adds its mixer's output to its input. Deviations, both against the delay drowning the cue:
- a zero observation, as in a silent delay, must not carry a constant that looks like a cue, so the
  embedding and the convolution have no bias and, unlike in mamba-ssm's block, no norm stands in front of a
  mixer;
- without any bias, though, a zero observation shuts the gate, silu(z) = 0, and the read-out, C = 0, just when
  the answer is asked for, so z and C get learned biases that start at 1.
With `mamba_ssm=True` the layers are those of mamba-ssm: its convolution has a bias, a norm stands in front of
every mixer, and z and C have no biases.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.selective_scan import selective_scan, selective_scan_reference
from membench.memory import Memory, State, Trace


class Mamba(Memory):
    """A stack of selective state-space layers.

    Args:
        input_size: features per observation.
        hidden_size: width between layers (d_model); also the output size.
        num_layers: stacked layers.
        state_size: states per channel (N, d_state).
        expand: channels inside a mixer per unit of width.
        conv_width: steps that the causal convolution sees.
        step_sizes: range of the initial step sizes delta; a channel's memory lasts about 1 / delta steps.
        mamba_ssm: the layers of mamba-ssm, without the deviations above.
        fused: the scan in one function of our own, not as a loop under autograd; the same but for rounding.

    State: `hidden` [b h] the last output, `convolution` [b layer channel conv_width-1] the last inputs of the
    convolutions, `ssm` [b layer channel N].
    """

    initialisations = ({"step_sizes": (0.001, 0.1)}, {"step_sizes": (0.0003, 0.1)})

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: int = 128,
        num_layers: int = 2,
        state_size: int = 16,
        expand: int = 2,
        conv_width: int = 4,
        step_sizes: tuple[float, float] = (0.001, 0.1),
        mamba_ssm: bool = False,
        fused: bool = True,
    ):
        super().__init__(input_size, hidden_size)
        self.num_channels, self.state_size, self.conv_width = expand * hidden_size, state_size, conv_width
        self.embedding = nn.Linear(input_size, hidden_size, bias=False)
        self.norms = nn.ModuleList(
            nn.RMSNorm(hidden_size, eps=1e-5) if mamba_ssm else nn.Identity() for _ in range(num_layers)
        )
        self.mixers = nn.ModuleList(
            Mixer(hidden_size, state_size, expand, conv_width, step_sizes, mamba_ssm=mamba_ssm, fused=fused)
            for _ in range(num_layers)
        )
        self.final_norm = nn.RMSNorm(hidden_size, eps=1e-5)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros."""
        per_layer = (batch_size, len(self.mixers), self.num_channels)
        return {
            "hidden": self.zeros(batch_size, self.output_size),
            "convolution": self.zeros(*per_layer, self.conv_width - 1),
            "ssm": self.zeros(*per_layer, self.state_size),
        }

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Run every layer over x [b t i] in one scan each."""
        y = self.embedding(x)
        convolutions, ssms = [], []
        for layer, (norm, mixer) in enumerate(zip(self.norms, self.mixers, strict=True)):
            mixed, convolution, ssm = mixer(norm(y), state["convolution"][:, layer], state["ssm"][:, layer])
            y = y + mixed
            convolutions.append(convolution)
            ssms.append(ssm)
        y = self.final_norm(y)
        if trace is not None:
            trace.record("hidden", y)
        after = {"convolution": torch.stack(convolutions, dim=1), "ssm": torch.stack(ssms, dim=1)}
        return y, {"hidden": y[:, -1], **after}


class Mixer(nn.Module):
    """One selective state-space mixer with the parameters of `mamba_ssm.Mamba`."""

    def __init__(
        self,
        hidden_size: int,
        state_size: int,
        expand: int,
        conv_width: int,
        step_sizes: tuple[float, float],
        *,
        mamba_ssm: bool = False,
        fused: bool = True,
    ):
        super().__init__()
        num_channels, self.dt_rank = expand * hidden_size, math.ceil(hidden_size / 16)
        self.state_size = state_size
        self.selective_scan = selective_scan if fused else selective_scan_reference
        self.in_proj = nn.Linear(hidden_size, 2 * num_channels, bias=False)
        self.conv1d = nn.Conv1d(num_channels, num_channels, conv_width, groups=num_channels, bias=mamba_ssm)
        self.x_proj = nn.Linear(num_channels, self.dt_rank + 2 * state_size, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, num_channels)
        rates = torch.arange(1, state_size + 1, dtype=torch.float32)
        self.A_log = nn.Parameter(rates.log().repeat(num_channels, 1))
        self.D = nn.Parameter(torch.ones(num_channels))
        self.out_proj = nn.Linear(num_channels, hidden_size, bias=False)
        self._initialise_step_sizes(*step_sizes)
        self.gate_bias = None if mamba_ssm else nn.Parameter(torch.ones(num_channels))
        self.readout_bias = None if mamba_ssm else nn.Parameter(torch.ones(state_size))

    def _initialise_step_sizes(self, smallest: float, largest: float) -> None:
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        log_steps = torch.empty(len(self.dt_proj.bias)).uniform_(math.log(smallest), math.log(largest))
        step_sizes = log_steps.exp()
        with torch.no_grad():  # the inverse of softplus
            self.dt_proj.bias.copy_(step_sizes + torch.log(-torch.expm1(-step_sizes)))

    def forward(self, u: Tensor, convolution: Tensor, ssm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mix u [b t h] over time.

        Args:
            u: the layer's input.
            convolution: [b channel conv_width-1], the inputs of the convolution before the first step.
            ssm: [b channel N], the state before the first step.

        Returns:
            The output [b t h] and the two states after the last step.
        """
        x, z = self.in_proj(u).chunk(2, dim=-1)
        padded = torch.cat([convolution.mT, x.to(convolution.dtype)], dim=1)
        x = F.silu(self._convolve(padded))
        delta, B, C = self.x_proj(x).split([self.dt_rank, self.state_size, self.state_size], dim=-1)
        delta = F.softplus(self.dt_proj(delta))
        if self.gate_bias is not None:
            z, C = z + self.gate_bias, C + self.readout_bias
        y, ssm = self.selective_scan(x, delta, -torch.exp(self.A_log), B, C, ssm)
        y = (y + self.D * x) * F.silu(z)
        return self.out_proj(y), padded[:, x.shape[1] :].mT, ssm

    def _convolve(self, padded: Tensor) -> Tensor:
        """Return `conv1d` of padded [b t+conv_width-1 channel] as [b t channel].

        A sum of shifted products: PyTorch's convolution by channel takes several times as long on a CPU.
        """
        taps = self.conv1d.weight.squeeze(1).unbind(1)
        num_steps = padded.shape[1] - len(taps) + 1
        y = padded[:, :num_steps] * taps[0]
        for place, tap in enumerate(taps[1:], start=1):
            y = torch.addcmul(y, padded[:, place : place + num_steps], tap)
        return y if self.conv1d.bias is None else y + self.conv1d.bias
