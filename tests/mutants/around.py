"""Sound memories to plant faults in: a base, and beside it nothing, a sum, a window, or a cache."""

import torch
from torch import nn

from membench.catalogue import build_memory, memory_options
from membench.check import INPUT_SIZE
from membench.laws import STEPS
from membench.memory import Memory

BASES = ("gru", "transformer", "mamba")
SIZES = {"hidden_size": 8, "num_layers": 1, "num_heads": 2}

MUTANTS = {}
"""Mutant -> the law that must find it."""

SOUND = {}
"""What must pass every law -> the bases to try it with."""


def breaks(law):
    """Return a decorator that enters a class as one that `law` must find."""

    def enter(mutant):
        MUTANTS[mutant] = law
        return mutant

    return enter


def sound(memory):
    """Enter a class that faults are planted in as one that breaks no law."""
    SOUND[memory] = BASES
    return memory


def unusual(memory):
    """Enter a class as one that breaks no law, though it may look as if it did."""
    SOUND[memory] = BASES[:1]
    return memory


@sound
class Around(Memory):
    """A base memory. What stands beside it overrides `beside`, its state, and `change`, what it does."""

    def __init__(self, base):
        sizes = {key: value for key, value in SIZES.items() if key in memory_options(base)}
        inner = build_memory(base, INPUT_SIZE, sizes, context_length=STEPS)
        super().__init__(INPUT_SIZE, inner.output_size)
        self.inner = inner
        self.project = nn.Linear(INPUT_SIZE, self.output_size, bias=False)

    @property
    def context_length(self):
        return getattr(self.inner, "context_length", None)

    @context_length.setter
    def context_length(self, value):
        self.inner.context_length = value

    def beside(self, batch_size):
        return {}

    def initial_state(self, batch_size):
        return {**self.inner.initial_state(batch_size), **self.beside(batch_size)}

    def forward(self, x, state, *, trace=None):
        y, after = self.inner(x, state, trace=trace)
        return self.change(y, {**state, **after}, x, state)

    def change(self, y, after, x, state):
        return y, after

    def projected(self, x, like):
        """Return x as wide as outputs are, in the type of `like`, whatever autocast makes of it."""
        return self.project(x).to(like.dtype)


@sound
class WithSum(Around):
    """Beside the base, a sum of the inputs so far that fades by 0.9 per step."""

    def beside(self, batch_size):
        return {"beside": {"sum": self.zeros(batch_size, self.output_size)}}

    def change(self, y, after, x, state):
        total, totals = state["beside"]["sum"], []
        for value in self.projected(x, total).unbind(1):
            total = self.fade(total) + value
            totals.append(total)
        return y + torch.stack(totals, 1), {**after, "beside": {"sum": total}}

    def fade(self, total):
        return 0.9 * total


@sound
class WithCount(Around):
    """Beside the base, the number of the step."""

    def beside(self, batch_size):
        return {"count": self.zeros(batch_size, 1)}

    def counts(self, x, state):
        return state["count"] + torch.arange(1, x.shape[1] + 1, device=x.device)

    def change(self, y, after, x, state):
        counts = self.counts(x, state)
        return y + self.tell(counts).unsqueeze(-1), {**after, "count": self.keep(counts[:, -1:])}

    def tell(self, counts):
        return (counts / 10).sin()

    def keep(self, count):
        return count


@sound
class WithWindow(Around):
    """Beside the base, a weighted sum of the last 6 inputs."""

    num_taps = 6

    def beside(self, batch_size):
        return {"past": self.zeros(batch_size, self.num_taps - 1, self.output_size)}

    def change(self, y, after, x, state):
        padded = torch.cat([state["past"], self.projected(x, state["past"])], 1)
        windows = padded.unfold(1, self.num_taps, 1)
        return y + (windows * self.taps(x, state)).sum(-1), {**after, "past": padded[:, x.shape[1] :]}

    def taps(self, x, state):
        return torch.arange(1, self.num_taps + 1, device=x.device, dtype=x.dtype) / 10


@sound
class WithCache(Around):
    """Beside the base, a cache of every input, read with weights that fade; `step` writes it in place."""

    def __init__(self, base):
        super().__init__(base)
        self.own_context_length = STEPS
        self.strength = nn.Parameter(torch.ones(()))

    @property
    def context_length(self):
        return self.own_context_length

    @context_length.setter
    def context_length(self, value):
        self.own_context_length = self.inner.context_length = value

    def beside(self, batch_size):
        place = torch.zeros(batch_size, dtype=torch.long, device=self.project.weight.device)
        return {"place": place, "past": self.zeros(batch_size, self.context_length, self.output_size)}

    def change(self, y, after, x, state):
        return self.attend(y, after, x, state, state["past"].clone())

    def step(self, x, state):
        y, after = self.inner.step(x, state)
        past = state["past"].clone() if torch.is_grad_enabled() else state["past"]
        y, after = self.attend(y.unsqueeze(1), {**state, **after}, x.unsqueeze(1), state, past)
        return y.squeeze(1), after

    def attend(self, y, after, x, state, past):
        rows = torch.arange(len(x), device=x.device).unsqueeze(1)
        now = state["place"].unsqueeze(1) + torch.arange(x.shape[1], device=x.device)
        past[rows, self.written(now)] = self.projected(x, past)
        distance = now.unsqueeze(2) - torch.arange(past.shape[1], device=x.device)
        weights = torch.where(distance >= 0, 0.95 ** distance.clamp(min=0).to(past.dtype), 0.0)
        return y + (self.strength.to(past.dtype) * weights) @ past, {
            **after,
            "place": self.advanced(state["place"], x),
            "past": past,
        }

    def written(self, now):
        """Return the places that steps at `now` are written to."""
        return now

    def advanced(self, place, x):
        """Return the place of the next call's first step."""
        return place + x.shape[1]
