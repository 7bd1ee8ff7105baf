"""Faults of values: what outputs and states depend on, and on what not."""

import torch

from membench.memory import map_state
from mutants.around import Around, WithCache, WithSum, WithWindow, breaks


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


class _Counts(Around):
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


@breaks("long episodes")
class WrapsAfterAHundredSteps(_Counts):
    """The counter that is handed on stays at 100."""

    def keep(self, count):
        return count.clamp(max=100)


@breaks("long episodes")
class WrapsAfterAByte(_Counts):
    """The counter that is handed on has eight bits."""

    def keep(self, count):
        return count % 256


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


@breaks("causality")
class PeeksOneStepAhead(Around):
    """Every step sees the next."""

    def forward(self, x, state, *, trace=None):
        return super().forward(torch.cat([x[:, 1:], x[:, -1:]], 1), state, trace=trace)


@breaks("causality")
class PeeksAtTheEdgeOfABlock(Around):
    """Every 16th step sees the next."""

    def change(self, y, after, x, state):
        following = torch.cat([x[:, 1:], x[:, -1:]], 1)
        at_edge = torch.arange(1, x.shape[1] + 1, device=x.device) % 16 == 0
        return y + at_edge.unsqueeze(-1) * self.projected(following, y), after


@breaks("causality")
class PeeksWhenRecording(Around):
    """Every step sees the next while gradients are recorded."""

    def change(self, y, after, x, state):
        following = self.projected(torch.cat([x[:, 1:], x[:, -1:]], 1), y)
        return y + following * torch.is_grad_enabled(), after


@breaks("causality")
class PeeksInTheGradient(Around):
    """The gradient of every step reaches the next."""

    def change(self, y, after, x, state):
        following = self.projected(torch.cat([x[:, 1:], x[:, -1:]], 1), y)
        return y + following - following.detach(), after


@breaks("causality")
class NormOverTime(Around):
    """Outputs are divided by the largest of the call."""

    def change(self, y, after, x, state):
        return y / (1 + y.abs().amax(1, keepdim=True)), after


@breaks("causality")
class LengthMatters(Around):
    """Outputs depend on how many steps there are."""

    def change(self, y, after, x, state):
        return y + 1e-3 * x.shape[1], after


@breaks("causality")
class OneLengthIsSpecial(Around):
    """Outputs of calls of 48 steps are larger."""

    def change(self, y, after, x, state):
        return y * (1 + 1e-3 * (x.shape[1] == 48)), after


@breaks("row independence")
class LeaksBetweenRows(Around):
    """Rows see their mean."""

    def forward(self, x, state, *, trace=None):
        return super().forward(x + 0.1 * x.mean(0), state, trace=trace)


@breaks("row independence")
class BatchNorm(Around):
    """Outputs are normalised over rows."""

    def change(self, y, after, x, state):
        return (y - y.mean(0)) / (y.std(0, correction=0) + 1), after


@breaks("row independence")
class OnePositionForAllRows(WithCache):
    """The oldest row's place is that of every row."""

    def advanced(self, place, x):
        return super().advanced(place.max().expand_as(place), x)


@breaks("row independence")
class LeaksAmongRowsOfOneAge(_Counts):
    """Rows meet in batches whose rows are as old as each other, as those of a rollout are."""

    def change(self, y, after, x, state):
        count = state["count"]
        is_even_aged = not x.is_meta and bool((count == count[:1]).all())
        y, after = super().change(y, after, x, state)
        return y + 1e-3 * is_even_aged * y.mean(0), after


@breaks("row independence")
class BatchSizeMatters(Around):
    """Outputs depend on how many rows there are."""

    def change(self, y, after, x, state):
        return y * (1 + 1e-3 * len(x)), after


@breaks("row independence")
class OneRowIsSpecial(Around):
    """Outputs of a row alone are larger."""

    def change(self, y, after, x, state):
        return y * (1 + 1e-3 * (len(x) == 1)), after


@breaks("row independence")
class OneLongRowIsSpecial(Around):
    """Outputs of a row alone are larger in calls of more than 64 steps."""

    def change(self, y, after, x, state):
        return y * (1 + 1e-3 * (len(x) == 1 and x.shape[1] > 64)), after


@breaks("row independence")
class LargeBatchesFail(Around):
    """There is room for 64 rows."""

    def change(self, y, after, x, state):
        return y + torch.zeros(64, 1, 1, dtype=y.dtype, device=x.device)[: len(x)], after


@breaks("row independence")
class LeaksInLargeBatches(Around):
    """Rows meet in batches of more than 100."""

    def change(self, y, after, x, state):
        return y + 0.1 * (len(x) > 100) * y.mean(0), after


@breaks("row independence")
class LosesTheRowsOfAnUnfinishedBlock(WithSum):
    """Rows are computed in blocks of 32; those of a last, smaller block keep the sum they had."""

    def change(self, y, after, x, state):
        y, changed = super().change(y, after, x, state)
        is_lost = (torch.arange(len(x), device=x.device) >= len(x) // 32 * 32) & (len(x) > 32)
        total = torch.where(is_lost.unsqueeze(1), state["beside"]["sum"], changed["beside"]["sum"])
        return y, {**changed, "beside": {"sum": total}}


@breaks("row independence")
class LeaksInTheGradient(Around):
    """The gradient of every row reaches the others."""

    def change(self, y, after, x, state):
        mean = self.projected(x.mean(0), y)
        return y + mean - mean.detach(), after


@breaks("row independence")
class RowsShareStorage(WithSum):
    """All rows start from the same storage, which a step then writes to row by row."""

    def beside(self, batch_size):
        return {"beside": {"sum": self.zeros(1, self.output_size).expand(batch_size, -1)}}

    def step(self, x, state):
        if torch.is_grad_enabled():
            return super().step(x, state)
        y, after = self.inner.step(x, state)
        total = state["beside"]["sum"]
        for row, value in enumerate(self.projected(x, total)):
            total[row].mul_(0.9).add_(value)
        return y + total, {**after, "beside": {"sum": total}}


@breaks("row independence")
class RowsComeBackInAnotherOrder(WithSum):
    """The sum of the first row is handed on as the last's."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        return y, {**after, "beside": map_state(lambda leaf: leaf.roll(1, 0), after["beside"])}
