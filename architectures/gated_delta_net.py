"""Gated DeltaNet: a matrix memory that forgets by a gate and writes only what it does not hold yet.

Source: Yang et al. 2024, arXiv 2412.06464, equation 10 and figure 1. Glossary: S memory, alpha decay, beta
write strength, q query, k key, v value, g output gate.

    S_t = alpha_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T
    y_t = O (RMSNorm(S_t^T q_t / sqrt(d)) * silu(g_t))
    q_t, k_t = unit(silu(conv(W x))),   v_t = silu(conv(W_v x)),   beta_t = sigmoid(W_beta x_t + b)
    alpha_t = exp(-A softplus(W_a x_t + c)),   g_t = W_g x_t + b_g

per head, where unit(u) = u / sqrt(|u|^2 + 1e-6). Deviations: A times softplus(c), the rate at which a head
forgets while nothing is shown, starts at 1 over a time constant that is log-uniform over `timescales`, while
the paper's code draws A uniformly up to 16 and c as Mamba does; b_g starts at 1, queries have a bias behind
the convolution and keys and values have none (`architectures.residual_stack`); beta has a bias b.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.causal_convolution import causal_convolution
from architectures.matrix_memory import correct_and_read
from architectures.residual_stack import Mixer, ResidualStack, head_size, split_heads
from architectures.timescales import TIMESCALES, Timescales, log_uniform
from membench.memory import PositiveInt, State


class GatedDeltaNet(ResidualStack):
    """A stack of gated delta rule layers.

    Args:
        input_size: features per observation.
        hidden_size: width; a multiple of num_heads. Also the output size.
        num_layers: stacked layers.
        num_heads: heads per layer.
        conv_width: steps that the causal convolutions see.
        timescales: range of the heads' initial time constants in steps.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `memory` [b head d d] and
    `convolution` [b 3h conv_width-1], the last inputs of the convolutions.

    Raises:
        ValueError: if hidden_size is not a multiple of num_heads.
    """

    initialisations = TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        num_heads: PositiveInt = 4,
        conv_width: PositiveInt = 4,
        timescales: Timescales = (2.0, 1000.0),
    ):
        mixers = [GatedDeltaMixer(hidden_size, num_heads, conv_width, timescales) for _ in range(num_layers)]
        super().__init__(input_size, hidden_size, mixers)


class GatedDeltaMixer(Mixer):
    """One layer of the gated delta rule."""

    def __init__(self, hidden_size: int, num_heads: int, conv_width: int, timescales: Timescales):
        super().__init__()
        self.num_heads, size = num_heads, head_size(hidden_size, num_heads)
        num_channels = 3 * hidden_size
        self.state_shapes = {
            "memory": (num_heads, size, size),
            "convolution": (num_channels, conv_width - 1),
        }
        self.queries_keys_values = nn.Linear(hidden_size, num_channels, bias=False)
        self.convolution = nn.Conv1d(num_channels, num_channels, conv_width, groups=num_channels, bias=False)
        self.query_bias = nn.Parameter(torch.empty(hidden_size).uniform_(-1, 1) * hidden_size**-0.5)
        self.strength = nn.Linear(hidden_size, num_heads)
        self.decay = nn.Linear(hidden_size, num_heads)
        nn.init.zeros_(self.decay.bias)
        rates = 1 / log_uniform(num_heads, timescales)
        self.rate_log = nn.Parameter(torch.log(rates / F.softplus(torch.zeros(()))))
        self.norm = nn.RMSNorm(size, eps=1e-5)
        self.gate = nn.Linear(hidden_size, hidden_size)
        nn.init.ones_(self.gate.bias)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Forget, correct and read at every step of x [b t h]."""
        convolved, convolution = causal_convolution(
            self.convolution, self.queries_keys_values(x), state["convolution"]
        )
        q, k, v = F.silu(convolved).chunk(3, dim=-1)
        q, k, v = (split_heads(part, self.num_heads) for part in (q + self.query_bias, k, v))
        log_decays = -self.rate_log.exp() * F.softplus(self.decay(x))
        strengths = self.strength(x).sigmoid()
        q = unit(q) * q.shape[-1] ** -0.5
        reads, memory = correct_and_read(q, unit(k), v, strengths, log_decays, state["memory"])
        y = self.norm(reads).flatten(2) * F.silu(self.gate(x))
        return self.output(y), {"memory": memory, "convolution": convolution}


def unit(x: Tensor) -> Tensor:
    """Return x with its last axis scaled to length 1, and a zero vector left at zero."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
