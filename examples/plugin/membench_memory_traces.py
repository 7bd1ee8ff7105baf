"""Memory traces: exponential moving averages of what was seen (Eberhard et al. 2025, arXiv 2503.15200).

    z_t = a * z_{t-1} + (1 - a) * W x_t        y_t = R z_t + b

Deviations: W x is averaged, not x, and every trace has a decay a of its own; both are learned. W has no bias:
the observation of a delay is all zeros, and what it wrote would drown what was seen before.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from membench.memory import Memory, State, Trace


class MemoryTraces(Memory):
    """`hidden_size` traces, whose time constants start between 2 and `longest` steps."""

    def __init__(self, input_size: int, *, hidden_size: int = 256, longest: float = 1000.0):
        super().__init__(input_size, output_size=hidden_size)
        if longest < 2:
            raise ValueError(f"longest {longest}: must be at least 2 steps")
        self.write = nn.Linear(input_size, hidden_size, bias=False)
        self.read = nn.Linear(hidden_size, hidden_size)
        timescales = 2 * (longest / 2) ** torch.linspace(0, 1, hidden_size)
        self.decay_logit = nn.Parameter(torch.log(timescales - 1))

    def initial_state(self, batch_size: int) -> State:
        """Return empty traces."""
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Return what is read from the traces: each round of the loop doubles how far back they reach."""
        decay, reach = self.decay_logit.sigmoid(), 1
        traces = torch.cat([state["hidden"].unsqueeze(1), (1 - decay) * self.write(x)], dim=1)
        while reach < traces.shape[1]:
            traces = traces + decay * F.pad(traces, (0, 0, reach, -reach))
            decay, reach = decay * decay, 2 * reach
        return self.read(traces[:, 1:]), {"hidden": traces[:, -1]}
