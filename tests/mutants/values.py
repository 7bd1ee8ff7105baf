"""Faults of values: outputs that depend on later steps, on other rows, or on how many there are."""

import torch

from membench.memory import map_state
from mutants.around import Around, WithCache, WithCount, WithSum, breaks


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
class LeaksAmongRowsOfOneAge(WithCount):
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
