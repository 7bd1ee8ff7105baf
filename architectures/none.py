"""None: no memory at all, the floor of every comparison.

    y_t = tanh(V tanh(W x_t + b) + c)

Nothing is carried from step to step. On a task that asks for what was seen before, it can do no better than
chance; where it does, the task leaks.
"""

from torch import Tensor, nn

from membench.memory import Memory, PositiveInt, State, Trace


class NoMemory(Memory):
    """Two layers over the present observation.

    Args:
        input_size: features per observation.
        hidden_size: units per layer; also the output size.

    State: `hidden` [b h], the last output, which nothing reads.
    """

    remembers = False

    def __init__(self, input_size: int, *, hidden_size: PositiveInt = 256):
        super().__init__(input_size, hidden_size)
        self.layers = nn.Sequential(
            nn.Linear(input_size, hidden_size), nn.Tanh(), nn.Linear(hidden_size, hidden_size), nn.Tanh()
        )

    def initial_state(self, batch_size: int) -> State:
        """Return zeros."""
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Map every step of x [b t i] by itself."""
        y = self.layers(x)
        if trace is not None:
            trace.record("hidden", y)
        return y, {"hidden": y[:, -1]}
