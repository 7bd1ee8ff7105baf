"""RNN: the recurrent network without gates, the foil that the GRU is compared with.

Source: Elman 1990, "Finding structure in time". Glossary: h hidden state, x input.

    h_t = tanh(W x_t + b + U h_{t-1} + c)

`torch.nn.RNN` computes it. Deviation: U starts orthogonal (Saxe et al. 2014, arXiv 1312.6120), not uniform,
under which a gradient would be gone after a few steps; it keeps its length until training changes U or the
tanh saturates.
"""

from torch import Tensor, nn

from architectures.stacked_layers import layers_first, layers_last, zero_layers
from membench.memory import Memory, PositiveInt, State, Trace


class RNN(Memory):
    """A stack of tanh layers over the observation.

    Args:
        input_size: features per observation.
        hidden_size: units per layer; also the output size.
        num_layers: stacked layers.

    State: `hidden` [b h] of the last layer, `lower` [b layers-1 h] of those below it.
    """

    def __init__(self, input_size: int, *, hidden_size: PositiveInt = 256, num_layers: PositiveInt = 1):
        super().__init__(input_size, hidden_size)
        self.rnn = nn.RNN(input_size, hidden_size, num_layers, batch_first=True)
        for layer in range(num_layers):
            nn.init.orthogonal_(getattr(self.rnn, f"weight_hh_l{layer}"))

    def initial_state(self, batch_size: int) -> State:
        """Return zeros."""
        return zero_layers(self, self.rnn, batch_size)

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Run every layer over x [b t i]; the output is the last layer's hidden state."""
        y, after = self.rnn(x, layers_first(state))
        if trace is not None:
            trace.record("hidden", y)
        return y, layers_last(after)
