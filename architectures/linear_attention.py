"""Linear attention: attention without the softmax, and so with a state of constant size.

Source: Katharopoulos et al. 2020, arXiv 2006.16236, equations 16 to 20. Glossary: S attention memory, z
normaliser memory, q query, k key, v value, phi feature map.

    S_t = S_{t-1} + phi(k_t) v_t^T,   z_t = z_{t-1} + phi(k_t),   phi(x) = elu(x) + 1
    y_t = O (S_t^T phi(q_t)) / (z_t . phi(q_t) + 1e-6)

per head. Deviations: values and keys have no bias and queries have one, and a layer is this read-out and a
residual alone, without the paper's feed-forward part (`architectures.residual_stack`). A zero observation
adds phi(0) = 1 to the normaliser and nothing to S, so that it shrinks a read-out and changes no direction.
The last norm of the stack makes up for that up to some hundred silent steps; then its constant shows (a
latent is 0.65 of its size after 1,000, 0.1 after 8,192).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.matrix_memory import write_and_read
from architectures.residual_stack import Mixer, ResidualStack, head_size, split_heads
from membench.memory import PositiveInt, State

SMALLEST_NORMALISER = 1e-6
"""Added to z . phi(q), lest it be zero where every feature has been saturated; as in the authors' code."""


class LinearAttention(ResidualStack):
    """A stack of linear attention layers.

    Args:
        input_size: features per observation.
        hidden_size: width; a multiple of num_heads. Also the output size.
        num_layers: stacked layers.
        num_heads: heads per layer.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `memory` [b head d d+1], S with z as
    its last column.

    Raises:
        ValueError: if hidden_size is not a multiple of num_heads.
    """

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        num_heads: PositiveInt = 4,
    ):
        mixers = [LinearAttentionMixer(hidden_size, num_heads) for _ in range(num_layers)]
        super().__init__(input_size, hidden_size, mixers)


class LinearAttentionMixer(Mixer):
    """One layer of linear attention."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads, size = num_heads, head_size(hidden_size, num_heads)
        self.state_shapes = {"memory": (num_heads, size, size + 1)}
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.value = nn.Linear(hidden_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Attend from every step of x [b t h] to itself and those before it."""
        q, k, v = (split_heads(part(x), self.num_heads) for part in (self.query, self.key, self.value))
        y, memory = attend(F.elu(q) + 1, F.elu(k) + 1, v, state["memory"])
        return self.output(y.flatten(2)), {"memory": memory}


def attend(queries: Tensor, keys: Tensor, values: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Return the normalised read-outs [b t n e] and the memory [b n d e+1] after the last step.

    Queries and keys [b t n d] are positive; the normaliser is read as one more value that is always 1.
    """
    never = torch.zeros_like(keys[..., 0])
    extended = F.pad(values, (0, 1), value=1.0)
    reads, memory = write_and_read(queries, keys, extended, never, memory)
    return reads[..., :-1] / (reads[..., -1:] + SMALLEST_NORMALISER), memory
