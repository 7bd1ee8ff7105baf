"""Faults that show in some circumstances only: a mode, a layout, a time, what was called before."""

import torch
from torch.nn import functional as F

from mutants.around import Around, WithSum, breaks


@breaks("determinism")
class DropoutInTraining(Around):
    """Dropout, as it usually is."""

    def forward(self, x, state, *, trace=None):
        return super().forward(F.dropout(x, 0.5, training=self.training), state, trace=trace)


@breaks("determinism")
class DropoutLeftOnWhenActing(Around):
    """A step drops out in every mode."""

    def step(self, x, state):
        return super().step(F.dropout(x, 0.1), state)


@breaks("determinism")
class NoiseInForward(Around):
    """Outputs are noisy."""

    def change(self, y, after, x, state):
        return y + 0.01 * torch.randn_like(y), after


@breaks("determinism")
class RandomInitialState(WithSum):
    """The sum starts from random numbers."""

    def beside(self, batch_size):
        return {"beside": {"sum": torch.randn_like(self.zeros(batch_size, self.output_size))}}


@breaks("determinism")
class OtherWhenRecording(Around):
    """Outputs are larger while gradients are recorded."""

    def change(self, y, after, x, state):
        return y * (1.01 if torch.is_grad_enabled() else 1.0), after


@breaks("determinism")
class OtherInInferenceMode(Around):
    """Outputs are larger in inference mode."""

    def change(self, y, after, x, state):
        return y * (1.01 if torch.is_inference_mode_enabled() else 1.0), after


@breaks("determinism")
class OtherWhenTraced(Around):
    """Outputs change while somebody is looking."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return y + (trace is not None), after


@breaks("determinism")
class OtherInEvalAtTheFirstStep(WithSum):
    """In eval mode, what comes out of an empty sum is larger."""

    def change(self, y, after, x, state):
        is_first = not x.is_meta and not self.training and not bool(state["beside"]["sum"].any())
        y, after = super().change(y, after, x, state)
        return y * (1 + 1e-3 * is_first), after


@breaks("determinism")
class OtherInEvalInLongCalls(Around):
    """Outputs of calls of more than 16 steps are larger in eval mode."""

    def change(self, y, after, x, state):
        return y * (1 + 1e-3 * (not self.training and x.shape[1] > 16)), after


@breaks("determinism")
class InitialStateInEval(WithSum):
    """The sum starts from another value in eval mode."""

    def beside(self, batch_size):
        fresh = self.zeros(batch_size, self.output_size)
        return {"beside": {"sum": fresh if self.training else fresh + 1}}


@breaks("determinism")
class OtherWhenTheInputNeedsAGradient(Around):
    """Outputs are larger where x requires a gradient."""

    def change(self, y, after, x, state):
        return y * (1.01 if x.requires_grad else 1.0), after


def _as_if_contiguous(x):
    """Return what a kernel reads that takes every tensor for a contiguous one."""
    strides = torch.empty(x.shape, device="meta").stride()
    needed = sum((size - 1) * stride for size, stride in zip(x.shape, strides, strict=True)) + 1
    has_room = x.storage_offset() + needed <= x.untyped_storage().nbytes() // x.element_size()
    return x.as_strided(x.shape, strides) if has_room and not x.is_meta else x


@breaks("determinism")
class MisreadsTheInput(Around):
    """The layout of x is not looked at."""

    def forward(self, x, state, *, trace=None):
        return super().forward(_as_if_contiguous(x) if x.shape[1] > 1 else x, state, trace=trace)


@breaks("determinism")
class MisreadsTheState(WithSum):
    """The layout of the state is not looked at."""

    def change(self, y, after, x, state):
        return super().change(
            y, after, x, {**state, "beside": {"sum": _as_if_contiguous(state["beside"]["sum"])}}
        )


@breaks("determinism")
class RemembersTheTensor(Around):
    """A call with the same tensor as the last gives the same result, whatever the tensor holds by now."""

    def forward(self, x, state, *, trace=None):
        if getattr(self, "seen", None) is not x:
            self.seen, self.features = x, self.project(x).detach()
        y, after = super().forward(x, state, trace=trace)
        return y + self.features.to(y.dtype), after


@breaks("determinism")
class RemembersInItself(Around):
    """The last output is kept in an attribute."""

    def change(self, y, after, x, state):
        last = getattr(self, "last", None)
        self.last = y[:, -1:].detach()
        return y if last is None or last.shape != self.last.shape or x.is_meta else y + last.to(y), after


@breaks("determinism")
class RemembersByBatchSize(WithSum):
    """The sum is kept in the memory, per batch size, and emptied by `initial_state`."""

    def beside(self, batch_size):
        fresh = super().beside(batch_size)
        self.sums = {**getattr(self, "sums", {}), batch_size: fresh["beside"]["sum"]}
        return fresh

    def change(self, y, after, x, state):
        if x.is_meta:
            return super().change(y, after, x, state)
        kept = self.sums.get(len(x), state["beside"]["sum"])
        y, after = super().change(y, after, x, {**state, "beside": {"sum": kept}})
        self.sums[len(x)] = after["beside"]["sum"].detach()
        return y, after


@breaks("determinism")
class CountsInItself(Around):
    """The number of the step is counted in the memory, and `initial_state` sets it to zero."""

    def beside(self, batch_size):
        self.num_steps = 0
        return {}

    def change(self, y, after, x, state):
        counts = torch.arange(self.num_steps, self.num_steps + x.shape[1], device=x.device, dtype=y.dtype)
        self.num_steps += x.shape[1]
        return y + (counts / 10).sin().unsqueeze(-1), after


@breaks("determinism")
class InitialStateOfTheLastEpisode(WithSum):
    """An episode starts with what a longer one before it left."""

    def beside(self, batch_size):
        fresh = super().beside(batch_size)
        left = getattr(self, "left", None)
        return (
            fresh
            if left is None or left.shape[0] != batch_size or left.device != fresh["beside"]["sum"].device
            else {"beside": {"sum": left}}
        )

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        if x.shape[1] > 5:
            self.left = after["beside"]["sum"].detach()
        return y, after


@breaks("determinism")
class CountsCalls(Around):
    """Outputs grow with the number of calls."""

    def change(self, y, after, x, state):
        self.num_calls = getattr(self, "num_calls", 0) + 1
        return y * (1 + 1e-6 * self.num_calls), after
