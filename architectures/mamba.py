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
Without such a norm a layer grows with about the fifth power of its input: two of them overflow float32 in the
last norm for observations of 5, which `agent.observation_scale` makes 100 (in 5 random memories of 5; at
40 in none).
With `mamba_ssm=True` the layers are those of mamba-ssm: its convolution has a bias, a norm stands in front of
every mixer, and z and C have no biases.

On a CUDA device the scan is mamba-ssm's kernel, where that package is installed and every row starts from the
"""

import math
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.causal_convolution import causal_convolution
from architectures.selective_scan import selective_scan, selective_scan_reference
from architectures.timescales import STEP_SIZES, step_size_bias
from membench.memory import Memory, PositiveInt, State, Trace

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What mamba-ssm's kernel computes in."""


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

    initialisations = STEP_SIZES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 2,
        state_size: PositiveInt = 16,
        expand: PositiveInt = 2,
        conv_width: PositiveInt = 4,
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

    @property
    def kernels(self) -> set[str]:
        """What scans have been computed with so far: `pytorch`, `mamba_ssm`, `numba`."""
        return {kernel for mixer in self.mixers if isinstance(mixer, Mixer) for kernel in mixer.kernels}

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
        self.fused = fused
        self.kernels: set[str] = set()
        self.in_proj = nn.Linear(hidden_size, 2 * num_channels, bias=False)
        self.conv1d = nn.Conv1d(num_channels, num_channels, conv_width, groups=num_channels, bias=mamba_ssm)
        self.x_proj = nn.Linear(num_channels, self.dt_rank + 2 * state_size, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, num_channels)
        rates = torch.arange(1, state_size + 1, dtype=torch.float32)
        self.A_log = nn.Parameter(rates.log().repeat(num_channels, 1))
        self.D = nn.Parameter(torch.ones(num_channels))
        self.out_proj = nn.Linear(num_channels, hidden_size, bias=False)
        self._initialise_step_sizes(step_sizes)
        self.gate_bias = None if mamba_ssm else nn.Parameter(torch.ones(num_channels))
        self.readout_bias = None if mamba_ssm else nn.Parameter(torch.ones(state_size))

    def _initialise_step_sizes(self, step_sizes: tuple[float, float]) -> None:
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(step_size_bias(len(self.dt_proj.bias), step_sizes))

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
        x, convolution = causal_convolution(self.conv1d, x, convolution)
        x = F.silu(x)
        delta, B, C = self.x_proj(x).split([self.dt_rank, self.state_size, self.state_size], dim=-1)
        delta = F.softplus(self.dt_proj(delta))
        if self.gate_bias is not None:
            z, C = z + self.gate_bias, C + self.readout_bias
        y, ssm = self._scan(x, delta, -torch.exp(self.A_log), B, C, ssm)
        y = (y + self.D * x) * F.silu(z)
        return self.out_proj(y), convolution, ssm

    def _scan(
        self, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, ssm: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run the recurrence by whichever implementation fits; see `selective_scan`."""
        arguments = (x, delta, A, B, C, ssm)
        if not self.fused or x.shape[1] == 1:
            name, scan = "pytorch", selective_scan if self.fused else selective_scan_reference
        elif x.dtype in KERNEL_DTYPES and has_kernel(x.device) and not ssm.any():
            name, scan = "mamba_ssm", scan_by_kernel
        elif all(is_for_numba(argument) for argument in arguments):
            name, scan = "numba", import_module("architectures.compiled_scan").compiled_scan
        else:
            name, scan = "pytorch", selective_scan
        self.kernels.add(name)
        return scan(*arguments)


def is_for_numba(x: Tensor) -> bool:
    """Return whether loops compiled by numba take x: in float32 on a CPU, where that package is installed."""
    is_known = x.device.type == "cpu" and x.dtype == torch.float32
    return is_known and not torch.compiler.is_compiling() and has_numba()


@cache
def has_numba() -> bool:
    """Return whether numba is installed; the first scan imports it, which takes a third of a second."""
    return find_spec("numba") is not None


@cache
def has_kernel(device: torch.device) -> bool:
    """Return whether mamba-ssm's kernel can run there: on CUDA, if the package imports."""
    if device.type != "cuda":
        return False
    try:
        import_kernel()
    except (ImportError, AttributeError, RuntimeError):  # what it raises where CUDA or Triton is missing
        return False
    return True


def import_kernel() -> Callable[..., Any]:
    """Return mamba-ssm's `selective_scan_fn`, imported when it is asked for."""
    return import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn


def scan_by_kernel(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, _zeros: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `selective_scan` does from the zero state, by mamba-ssm's kernel, which has time last."""
    u, delta, B, C = (x.mT.contiguous() for x in (u, delta.to(u.dtype), B.to(u.dtype), C.to(u.dtype)))
    A = A.float()  # the only precision of it that the kernel takes
    y, ssm = import_kernel()(u, delta, A, B, C, return_last_state=True)
    return y.mT, LastState.apply(ssm.detach(), u, delta, A, B)


class LastState(torch.autograd.Function):
    """The state after a kernel's last step, differentiable: mamba-ssm's has no gradient, and says nothing.

    Without it, what a later segment needs of an earlier one would not be learned. The gradient is that of
    `last_state`, taken only if it is asked for.
    """

    @staticmethod
    def forward(ctx: Any, ssm: Tensor, *inputs: Tensor) -> Tensor:
        """Return `ssm`, which the kernel made of `inputs`, the arguments of `last_state`."""
        ctx.save_for_backward(*inputs)
        return ssm

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `inputs`."""
        (gradient,) = gradients
        inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
        with torch.enable_grad():
            ssm = last_state(*inputs)
        return None, *torch.autograd.grad(ssm, inputs, gradient)


def last_state(u: Tensor, delta: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """Return the sum over s of exp(A sum_{r>s} delta_r) delta_s B_s u_s [b channel N], from the zero state.

    Args:
        u, delta: [b channel t].
        A: [channel N].
        B: [b N t].
    """
    u, delta, B = u.to(A.dtype), delta.to(A.dtype), B.to(A.dtype)
    steps_after = delta.flip(-1).cumsum(-1).flip(-1) - delta
    kept = torch.exp(A.unsqueeze(-1) * steps_after.unsqueeze(-2))
    return torch.einsum("bcnt,bct,bnt->bcn", kept, delta * u, B)
