"""Faults of precision: numbers that are not finite, or types that change."""

import torch

from mutants.around import Around, WithSum, breaks


@breaks("dtype")
class DividesByTheSpread(Around):
    """An observation whose features are all the same has no spread."""

    def change(self, y, after, x, state):
        centred = x - x.mean(-1, keepdim=True)
        is_silent = (x == 0).all(-1, keepdim=True)
        spread = centred.square().mean(-1, keepdim=True) + is_silent
        return y + (centred / spread).sum(-1, keepdim=True), after


@breaks("dtype")
class StartsAfreshUnderAutocast(WithSum):
    """Under autocast a call takes the sum for zero."""

    def change(self, y, after, x, state):
        under = torch.is_autocast_enabled("cpu")
        return super().change(y, after, x, {**state, **self.beside(len(x))} if under else state)


@breaks("dtype")
class DetachedUnderAutocast(Around):
    """Under autocast nothing is learned."""

    def change(self, y, after, x, state):
        return y.detach() if torch.is_autocast_enabled("cpu") else y, after


@breaks("dtype")
class Overflow(Around):
    """Large inputs overflow."""

    def change(self, y, after, x, state):
        return y * torch.exp(x.abs().amax(-1, keepdim=True)), after


@breaks("dtype")
class NotFiniteUnderBfloat16(Around):
    """1 - sigmoid rounds to zero in bfloat16, and is divided by."""

    def change(self, y, after, x, state):
        gate = self.project(x.clamp(-1, 1)).mean(-1, keepdim=True).add(8).sigmoid()
        return y + 1e-3 / (1 - gate * torch.ones_like(gate)), after


@breaks("dtype")
class RootOfNothing(Around):
    """A norm whose gradient at a silent observation is not finite."""

    def change(self, y, after, x, state):
        projected = self.projected(x, y)
        return y + projected * projected.square().sum(-1, keepdim=True).sqrt(), after


@breaks("dtype")
class DividesBySilence(Around):
    """The direction of a silent observation is not a number."""

    def change(self, y, after, x, state):
        return y + (x / x.norm(dim=-1, keepdim=True)).sum(-1, keepdim=True), after


@breaks("dtype")
class WideOutput(Around):
    """Outputs are in float64."""

    def change(self, y, after, x, state):
        return y.double(), after


@breaks("dtype")
class WideOutputOfAStep(Around):
    """Outputs of `step` are in float64."""

    def step(self, x, state):
        y, after = super().step(x, state)
        return y.double(), after


@breaks("dtype")
class WideState(WithSum):
    """The sum is kept in float64."""

    def beside(self, batch_size):
        return {"beside": {"sum": super().beside(batch_size)["beside"]["sum"].double()}}


@breaks("dtype")
class StateTypeDependsOnTheCall(WithSum):
    """A step, and nothing else, leaves the sum in the type that autocast computes in."""

    def step(self, x, state):
        y, after = super().step(x, state)
        return y, {**after, "beside": {"sum": after["beside"]["sum"].to(self.project(x).dtype)}}
