"""The frame that many memories share: an embedding, layers that mix over time, and residuals.

    y_0 = E x;   y_l = y_{l-1} + mixer_l(y_{l-1});   output = RMSNorm(y_L)

What differs between memories built on it is the mixer alone. Unlike in most papers, no norm stands in front
of a mixer and neither the embedding nor what a mixer writes has a bias, both against the delay drowning the
cue: a zero observation, as in a silent delay, must not carry a constant that looks like a cue, nor a norm
blow up the little that is left of one. What reads has a bias, so that a zero observation can look for
something. Two exceptions: minGRU's candidate is 1/2 at zero, and the outputs of LRU's and FFM's mixers have
biases, which the layers behind them see.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import Tensor, nn

from membench.memory import Memory, State, Trace


class Mixer(nn.Module, ABC):
    """A layer that mixes over time.

    Attributes:
        state_shapes: name -> shape, without the batch, of what it carries from step to step; zeros at first.
    """

    state_shapes: dict[str, tuple[int, ...]]

    @abstractmethod
    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mix x [b t h] over time; return as much and the state after the last step."""
        raise NotImplementedError


class ResidualStack(Memory):
    """An embedding and mixers, each added to its input.

    State: `hidden` [b h] the last output, and per layer, under `layers`, what its mixer carries.
    """

    def __init__(self, input_size: int, hidden_size: int, mixers: Iterable[Mixer]):
        super().__init__(input_size, hidden_size)
        self.embedding = nn.Linear(input_size, hidden_size, bias=False)
        mixers = list(mixers)
        self.state_shapes = [mixer.state_shapes for mixer in mixers]
        self.mixers = nn.ModuleList(mixers)
        self.final_norm = nn.RMSNorm(hidden_size, eps=1e-5)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros."""
        layers = {
            str(layer): {name: self.zeros(batch_size, *shape) for name, shape in shapes.items()}
            for layer, shapes in enumerate(self.state_shapes)
        }
        return {"hidden": self.zeros(batch_size, self.output_size), "layers": layers}

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Run every layer over x [b t i]."""
        y, layers = self.embedding(x), {}
        for layer, mixer in enumerate(self.mixers):
            mixed, layers[str(layer)] = mixer(y, state["layers"][str(layer)])
            y = y + mixed
        y = self.final_norm(y)
        if trace is not None:
            trace.record("hidden", y)
        return y, {"hidden": y[:, -1], "layers": layers}


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Return x [b t h] as [b t head d]."""
    return x.unflatten(-1, (num_heads, -1))


def head_size(hidden_size: int, num_heads: int, expand: int = 1) -> int:
    """Return the features per head of a layer with expand * hidden_size features.

    Raises:
        ValueError: if they do not come out even.
    """
    if num_heads < 1:
        raise ValueError(f"num_heads {num_heads}: must be at least 1")
    if expand * hidden_size % num_heads:
        times = "" if expand == 1 else f" times expand = {expand}"
        raise ValueError(f"hidden_size {hidden_size}{times}: must be a multiple of num_heads = {num_heads}")
    return expand * hidden_size // num_heads
