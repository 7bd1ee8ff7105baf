"""SHM: Stable Hadamard Memory, a matrix whose every entry is kept or faded by the input.

Source: Le et al. 2024, arXiv 2410.10132, equations 3 and 9 to 12. Glossary: M memory, C calibration, U
update, theta calibration parameters, eta write gate, v value, k key, q query.

    M_t = M_{t-1} * C_t + U_t
    C_t = 1 + tanh(theta_t v_c(x_t)^T),   v_c = W_c x_t          (the paper: W_c LayerNorm(x_t))
    U_t = eta_t v_t k_t^T,   eta_t = sigmoid(W_eta x_t + b),   k_t = share(W_k x_t)
    y_t = O M_t q_t,   q_t = share(W_q x_t + b_q),   share(u) = relu(u) / (1e-5 + sum relu(u))

theta_t is one of `num_calibrations` learned rows. Deviations: the paper draws the row at random at every
step, which makes products of the C_t average 1; here it is the step's number times an odd constant, modulo
their number, so that rows come up equally often, in an order of no short period, and the same call gives the
same result: an episode of fewer steps than there are rows uses the first of that order alone, which its
training then is of. The LayerNorm in front of v_c is left out, and only queries and eta have a bias, so that
a zero observation has C = 1 and U = 0 and keeps everything; b_q starts at 1 (`architectures.residual_stack`).
So where a cue comes first and silence follows, C changes nothing: it meets M_0 = 0, then zeros, and gets no
gradient.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from architectures.linear_scan import linear_scan
from architectures.residual_stack import Mixer, ResidualStack
from membench.memory import PositiveInt, State

STRIDE = 37
"""Odd, so that with a power of two of rows every one comes up before any does again."""


class SHM(ResidualStack):
    """A stack of Stable Hadamard Memories.

    Args:
        input_size: features per observation.
        hidden_size: width between layers; also the output size.
        num_layers: stacked layers.
        memory_size: rows and columns of a memory, over which time and state grow with the square; None means
            hidden_size // 4. With much less, the parameters that are left make the layer so wide that usual
            learning rates are too high for it.
        num_calibrations: rows of theta; a power of two.

    State: `hidden` [b h] the last output, and per layer, under `layers`, `memory` [b size size] and
    `position` [b 1], the steps seen so far.

    Raises:
        ValueError: if num_calibrations is not a power of two.
    """

    check_options: ClassVar[dict[str, Any]] = {"memory_size": 6, "num_calibrations": 8}

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        memory_size: PositiveInt | None = None,
        num_calibrations: PositiveInt = 128,
    ):
        memory_size = memory_size or max(1, hidden_size // 4)
        mixers = [SHMMixer(hidden_size, memory_size, num_calibrations) for _ in range(num_layers)]
        super().__init__(input_size, hidden_size, mixers)


class SHMMixer(Mixer):
    """One Stable Hadamard Memory."""

    def __init__(self, hidden_size: int, memory_size: int, num_calibrations: int):
        super().__init__()
        if num_calibrations < 1 or num_calibrations & (num_calibrations - 1):
            raise ValueError(f"num_calibrations {num_calibrations}: must be a power of two")
        self.state_shapes = {"memory": (memory_size, memory_size), "position": (1,)}
        self.calibrations = nn.Parameter(torch.empty(num_calibrations, memory_size))
        nn.init.xavier_uniform_(self.calibrations)
        self.calibration = nn.Linear(hidden_size, memory_size, bias=False)
        self.value = nn.Linear(hidden_size, memory_size, bias=False)
        self.key = nn.Linear(hidden_size, memory_size, bias=False)
        self.query = nn.Linear(hidden_size, memory_size)
        nn.init.ones_(
            self.query.bias
        )  # nearer to zero, a few updates would put all of them below it for ever
        self.write_gate = nn.Linear(hidden_size, 1)
        self.output = nn.Linear(memory_size, hidden_size, bias=False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Calibrate, write and read at every step of x [b t h]."""
        steps = torch.arange(x.shape[1], device=x.device)
        positions = state["position"].long() + steps
        thetas = self.calibrations[positions * STRIDE % len(self.calibrations)]
        calibration = 1 + torch.tanh(thetas.unsqueeze(-1) * self.calibration(x).unsqueeze(-2))
        values = self.write_gate(x).sigmoid() * self.value(x)
        update = values.unsqueeze(-1) * share(self.key(x)).unsqueeze(-2)
        memory = linear_scan(calibration, update, state["memory"])
        read = (memory @ share(self.query(x)).unsqueeze(-1).to(memory.dtype)).squeeze(-1)
        return self.output(read), {"memory": memory[:, -1], "position": state["position"] + x.shape[1]}


def share(x: Tensor) -> Tensor:
    """Return the positive part of x, with its last axis scaled to sum to 1, or to 0 where it is nothing."""
    positive = x.relu()
    return positive / (1e-5 + positive.sum(-1, keepdim=True))
