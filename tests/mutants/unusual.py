"""Sound memories that may look as if they were not: what laws must let pass."""

import torch
from torch import nn

from membench.check import INPUT_SIZE
from membench.memory import Memory
from mutants.around import Around, WithSum, unusual


@unusual
class LearnedStart(WithSum):
    """The sum starts from a parameter, whose storage all rows share."""

    def __init__(self, base):
        super().__init__(base)
        self.start = nn.Parameter(torch.randn(self.output_size))

    def beside(self, batch_size):
        return {"beside": {"sum": self.start.expand(batch_size, -1)}}


@unusual
class Memoryless(Around):
    """No step knows of another."""

    remembers = False

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x, state, *, trace=None):
        y = self.project(x).tanh()
        return y, {"hidden": y[:, -1]}


@unusual
class SumsOfSums(Around):
    """The sum of all inputs, the sum of such sums, and of these: they grow without bound, but slowly."""

    def beside(self, batch_size):
        return {"sums": self.zeros(batch_size, 3, self.output_size)}

    def change(self, y, after, x, state):
        sums, outputs = state["sums"], []
        for value in self.projected(x, sums).split(1, dim=1):
            sums = sums + torch.cat([value, sums[:, :-1]], 1)
            outputs.append(sums[:, -1])
        return y + torch.stack(outputs, 1), {**after, "sums": sums}


@unusual
class WithoutParameters(Memory):
    """A sum of the inputs that fades, and no base: nothing to learn."""

    def __init__(self, base):
        super().__init__(INPUT_SIZE, INPUT_SIZE)

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x, state, *, trace=None):
        total, totals = state["hidden"], []
        for value in x.unbind(1):
            total = 0.9 * total + value
            totals.append(total)
        return torch.stack(totals, 1), {"hidden": total}


class _Single(torch.autograd.Function):
    """A kernel that takes nothing but float32."""

    @staticmethod
    def forward(ctx, x):
        if x.dtype != torch.float32:
            raise TypeError(f"expected float32, not {x.dtype}")
        return x * 2

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0] * 2


@unusual
class SingleOnly(WithSum):
    """A memory with a kernel that takes nothing but float32."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        return _Single.apply(y.float()) if x.dtype == torch.float32 else _Single.apply(y), after


@unusual
class SingleInside(WithSum):
    """A memory that takes float64 and computes in float32 all the same."""

    def fade(self, total):
        return (0.9 * total.float()).to(total.dtype)


@unusual
class FrozenInside(WithSum):
    """Most of the parameters are not trained."""

    def __init__(self, base):
        super().__init__(base)
        self.inner.requires_grad_(False)


@unusual
class ComplexState(Around):
    """A leaf of complex numbers, and one that starts from minus infinity."""

    def beside(self, batch_size):
        zeros = self.zeros(batch_size, self.output_size)
        return {"wave": torch.complex(zeros, zeros), "largest": zeros - torch.inf}

    def change(self, y, after, x, state):
        wave, values = state["wave"], self.projected(x, state["largest"])
        waves = [wave := (0.9 + 0.2j) * wave + value for value in values.unbind(1)]
        largest = torch.cat([state["largest"].unsqueeze(1), values], 1).cummax(1).values[:, 1:]
        y = y + torch.stack(waves, 1).real + largest
        return y, {**after, "wave": wave, "largest": largest[:, -1]}


@unusual
class KeepsATable(Around):
    """A table that does not depend on the weights is made once per length, type and device."""

    def change(self, y, after, x, state):
        self.tables = getattr(self, "tables", {})
        key = x.shape[1], y.dtype, y.device
        if key not in self.tables:
            self.tables[key] = torch.full((x.shape[1], 1), 0.5, dtype=y.dtype, device=y.device)
        return y + self.tables[key], after
