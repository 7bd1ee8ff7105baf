"""Faults of shapes: of the state, of outputs, of what is recorded."""

import torch
from torch import nn

from mutants.around import Around, WithSum, breaks


@breaks("state shape")
class GrowingState(Around):
    """A leaf grows with time."""

    def change(self, y, after, x, state):
        return y, {**after, "hidden": torch.cat([state["hidden"], y[:, -1]], 1)}


@breaks("state shape")
class SquareLeaf(Around):
    """A leaf with a second batch axis, which no selection of rows can serve."""

    def beside(self, batch_size):
        return {"square": self.zeros(batch_size, batch_size)}


@breaks("state shape")
class CounterIsANumber(Around):
    """A leaf that is no tensor."""

    def beside(self, batch_size):
        return {"count": 0}

    def change(self, y, after, x, state):
        return y, {**after, "count": state["count"] + x.shape[1]}


@breaks("state shape")
class PairIsATuple(Around):
    """Two leaves are kept in a tuple."""

    def beside(self, batch_size):
        return {"pair": (self.zeros(batch_size, 3), self.zeros(batch_size, 4))}


@breaks("state shape")
class LearnedHidden(Around):
    """`hidden` starts from a parameter."""

    def __init__(self, base):
        super().__init__(base)
        self.start = nn.Parameter(torch.randn(()))

    def initial_state(self, batch_size):
        state = super().initial_state(batch_size)
        return {**state, "hidden": state["hidden"] + self.start}


@breaks("state shape")
class StateTypeChanges(WithSum):
    """A leaf is of another type after a step."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        return y, {**after, "hidden": after["hidden"].to(torch.float16)}


@breaks("state shape")
class StillHidden(Around):
    """`hidden` is there and never set."""

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, 1), "inner": self.inner.initial_state(batch_size)}

    def forward(self, x, state, *, trace=None):
        y, after = self.inner(x, state["inner"], trace=trace)
        return y, {"hidden": state["hidden"], "inner": after}


@breaks("state shape")
class ConstantHidden(StillHidden):
    """`hidden` says that there was a step, and nothing else."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return y, {**after, "hidden": torch.ones_like(state["hidden"])}


@breaks("state shape")
class WrongOutputSize(Around):
    """`output_size` is not the size of the output."""

    def change(self, y, after, x, state):
        return torch.cat([y, y], -1), after


@breaks("state shape")
class TraceWithoutRows(Around):
    """What is recorded is of one row."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state)
        if trace is not None:
            trace.record("hidden", y[0])
        return y, after
