"""Faults of episodes in parts: what one call hands on to the next, and how long that goes well."""

import torch

from membench.memory import map_state
from mutants.around import Around, WithCache, WithCount, WithSum, WithWindow, breaks


@breaks("segmentation")
class DropsInitialState(Around):
    """`forward` starts from the initial state, whatever it is given."""

    def forward(self, x, state, *, trace=None):
        return super().forward(x, self.initial_state(len(x)), trace=trace)


@breaks("segmentation")
class HandsOnAFadedState(Around):
    """The state fades when it is handed on."""

    def change(self, y, after, x, state):
        return y, map_state(lambda leaf: leaf * 0.9 if leaf.is_floating_point() else leaf, after)


@breaks("segmentation")
class ForgetGateTwice(WithSum):
    """The forget gate is applied when the state is read and again by the next call's first step."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        return y, {**after, "beside": map_state(self.fade, after["beside"])}


@breaks("segmentation")
class ForgetGateTwiceInStep(WithSum):
    """The forget gate is applied twice by `step` alone."""

    def step(self, x, state):
        return super().step(x, {**state, "beside": map_state(self.fade, state["beside"])})


@breaks("segmentation")
class CacheKeepsOneStepTooFew(WithWindow):
    """The oldest of the inputs that the next call needs is not kept."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        return y, {
            **after,
            "past": torch.cat([self.zeros(len(x), 1, self.output_size), after["past"][:, 1:]], 1),
        }


@breaks("segmentation")
class WindowDiffersInStep(WithWindow):
    """A step looks one input less far back than a sequence does."""

    def taps(self, x, state):
        taps = super().taps(x, state)
        return taps * (torch.arange(self.num_taps, device=x.device) > 0) if x.shape[1] == 1 else taps


@breaks("segmentation")
class PositionStandsStill(WithCache):
    """The counter does not advance."""

    def advanced(self, place, x):
        return place


@breaks("segmentation")
class PositionAdvancesByOne(WithCache):
    """The counter advances by one per call, however many steps the call has."""

    def advanced(self, place, x):
        return place + 1


@breaks("segmentation")
class CacheIsOffByOne(WithCache):
    """What comes back of the cache is shifted by one place."""

    def attend(self, y, after, x, state, past):
        y, after = super().attend(y, after, x, state, past)
        return y, {**after, "past": after["past"].roll(1, 1)}


@breaks("segmentation")
class LastPlaceWrapsWrongly(WithCache):
    """The last place of the cache is the first."""

    def written(self, now):
        return now % (self.context_length - 1)


@breaks("segmentation")
class OtherStep(Around):
    """`step` computes something slightly else than `forward`."""

    def step(self, x, state):
        return super().step(0.99 * x, state)


@breaks("segmentation")
class StepIgnoresANestedLeaf(WithSum):
    """A step takes the sum for zero."""

    def step(self, x, state):
        return super().step(x, {**state, **self.beside(len(x))})


@breaks("segmentation")
class StepNestsOtherwise(WithSum):
    """A step returns the sum under another key."""

    def step(self, x, state):
        y, after = super().step(x, state)
        return y, {**after, "beside": {"total": after["beside"]["sum"], "sum": after["beside"]["sum"]}}


@breaks("segmentation")
class StepGivesAnAxisTooMany(Around):
    """A step returns an output with an axis of time."""

    def step(self, x, state):
        y, after = super().step(x, state)
        return y.unsqueeze(1), after


@breaks("segmentation")
class ForwardOverOneStepDiffers(Around):
    """A call of one step takes another path than a longer one."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return y * (1 + 1e-3 * (x.shape[1] == 1)), after

    def step(self, x, state):
        return self.inner.step(x, state)


@breaks("segmentation")
class LongCallsStartAfresh(WithSum):
    """A call of more than 64 steps takes the sum for zero."""

    def change(self, y, after, x, state):
        return super().change(y, after, x, {**state, **self.beside(len(x))} if x.shape[1] > 64 else state)


@breaks("segmentation")
class LosesTheLastStepOfABlock(WithSum):
    """A call of a multiple of 16 steps hands on the sum before its last step."""

    def change(self, y, after, x, state):
        changed, after_all = super().change(y, after, x, state)
        if x.shape[1] % 16:
            return changed, after_all
        _, after_less = super().change(y[:, :-1], after, x[:, :-1], state)
        return changed, {**after_all, "beside": after_less["beside"]}


@breaks("long episodes")
class WrapsAfterAHundredSteps(WithCount):
    """The counter that is handed on stays at 100."""

    def keep(self, count):
        return count.clamp(max=100)


@breaks("long episodes")
class WrapsAfterAByte(WithCount):
    """The counter that is handed on has eight bits."""

    def keep(self, count):
        return count % 256


@breaks("long episodes")
class Explodes(WithSum):
    """The sum grows by a fifth at every step."""

    def fade(self, total):
        return 1.2 * total


@breaks("long episodes")
class ExplodesBehindANorm(Explodes):
    """The sum grows by a fifth at every step, and outputs do not show it."""

    def change(self, y, after, x, state):
        grown, after = super().change(y, after, x, state)
        return y + (grown - y).tanh(), after


@breaks("long episodes")
class ContextLengthMatters(WithCache):
    """Outputs depend on how long the cache is."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        return y + 1 / self.context_length, after


@breaks("long episodes")
class ContextIsFixed(WithCache):
    """The cache is as long as it was when the memory was built."""

    def beside(self, batch_size):
        self.own_context_length = min(self.own_context_length, 72)
        return super().beside(batch_size)

    def written(self, now):
        return now.clamp(max=71)
