"""Faults of gradients: cut, too short, or wrong."""

import torch
from torch import nn

from membench.memory import detach, map_state
from mutants.around import Around, WithCache, WithSum, breaks
from mutants.unusual import Memoryless as SoundMemoryless
from mutants.unusual import SingleInside


@breaks("gradient reach")
class DetachedState(Around):
    """The state is cut from the graph when it is handed on."""

    def change(self, y, after, x, state):
        return y, detach(after)


@breaks("gradient reach")
class ForgetsInSilence(Around):
    """A silent observation is taken for the start of an episode."""

    def forward(self, x, state, *, trace=None):
        outputs = []
        for x_t in x.split(1, dim=1):
            y, state = self.inner(x_t, self.begun_anew(state, ~x_t.any(-1)))
            outputs.append(y)
        return torch.cat(outputs, 1), state

    def begun_anew(self, state, where):
        def begin(now, first):
            return torch.where(where.reshape(-1, *[1] * (now.dim() - 1)), first, now)

        return map_state(begin, state, self.initial_state(len(where)))


@breaks("gradient reach")
class DetachedParameter(Around):
    """A learned initial state that cannot be learned."""

    def __init__(self, base):
        super().__init__(base)
        self.start = nn.Parameter(torch.randn(self.output_size))

    def beside(self, batch_size):
        return {"start": self.start.detach().expand(batch_size, -1)}

    def change(self, y, after, x, state):
        return y + state["start"].unsqueeze(1), after


@breaks("gradient reach")
class DetachedAtEveryStep(WithSum):
    """A part of the state is cut from the graph at every step, however steps fall into calls."""

    def fade(self, total):
        return super().fade(total.detach())


@breaks("gradient reach")
class DetachedInSinglePrecision(SingleInside):
    """The same, in a memory that has no double precision."""

    def fade(self, total):
        return super().fade(total.detach())


class _DetachedAgain(Around):
    """A long call is cut into pieces through which gradients do not flow."""

    def forward(self, x, state, *, trace=None):
        outputs = []
        for piece in x.split(self.num_steps, dim=1):
            y, state = super().forward(piece, detach(state) if outputs else state, trace=trace)
            outputs.append(y)
        return torch.cat(outputs, 1), state


@breaks("gradient reach")
class DetachedEvery32Steps(_DetachedAgain):
    """Gradients reach 32 steps back."""

    num_steps = 32


@breaks("gradient reach")
class DetachedEvery64Steps(_DetachedAgain):
    """Gradients reach 64 steps back."""

    num_steps = 64


@breaks("gradient reach")
class StepsWithoutGradients(Around):
    """A step is computed under no_grad."""

    def step(self, x, state):
        with torch.no_grad():
            return super().step(x, state)


@breaks("gradient reach")
class CacheWrittenWhileRecording(WithCache):
    """A step writes into the cache that earlier steps need for their gradients."""

    def step(self, x, state):
        y, after = self.inner.step(x, state)
        y, after = self.attend(y.unsqueeze(1), {**state, **after}, x.unsqueeze(1), state, state["past"])
        return y.squeeze(1), after


@breaks("gradient reach")
class RecordsUnderNoGrad(Around):
    """Gradients are recorded whether asked for or not."""

    def forward(self, x, state, *, trace=None):
        with torch.enable_grad():
            return super().forward(x, state, trace=trace)


class _Scaled(torch.autograd.Function):
    """The identity, with a gradient that is a little too large."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, *gradients):
        return 1.01 * gradients[0]


@breaks("gradient reach")
class WrongGradientOfOneParameter(Around):
    """One parameter's gradient is a little too large, in every call alike."""

    def change(self, y, after, x, state):
        return y + nn.functional.linear(x, _Scaled.apply(self.project.weight)).to(y.dtype), after


@breaks("gradient reach")
class WrongGradientInStep(Around):
    """Gradients are a little too large through `step` alone."""

    def step(self, x, state):
        y, after = super().step(x, state)
        return _Scaled.apply(y), after


@breaks("gradient reach")
class WrongGradientInEval(Around):
    """Gradients are a little too large in eval mode."""

    def change(self, y, after, x, state):
        return y if self.training else _Scaled.apply(y), after


@breaks("gradient reach")
class WrongGradientOfTheState(WithSum):
    """What comes back to the state that a call is given is a little too large."""

    def change(self, y, after, x, state):
        return super().change(
            y, after, x, {**state, "beside": {"sum": _Scaled.apply(state["beside"]["sum"])}}
        )


@breaks("gradient reach")
class Memoryless(Around):
    """Every step is computed as if it were the first."""

    def forward(self, x, state, *, trace=None):
        num_rows, num_steps = x.shape[:2]
        y, _ = super().forward(x.flatten(0, 1).unsqueeze(1), self.initial_state(num_rows * num_steps))
        return y.reshape(num_rows, num_steps, -1), {
            **state,
            "hidden": y.reshape(num_rows, num_steps, -1)[:, -1],
        }


@breaks("gradient reach")
class ClaimsToForget(Around):
    """A memory that remembers and says that it does not."""

    remembers = False


@breaks("gradient reach")
class WrongGradientWithoutMemory(SoundMemoryless):
    """A memoryless baseline whose weights get no gradient."""

    def forward(self, x, state, *, trace=None):
        y = (self.project(x).detach() + x.sum(-1, keepdim=True)).tanh()
        return y, {"hidden": y[:, -1]}
