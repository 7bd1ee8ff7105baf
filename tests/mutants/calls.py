"""Faults of calls: what they change that they should leave alone."""

import numpy
import torch

from mutants.around import Around, WithCache, WithSum, breaks


@breaks("purity")
class MutatesState(Around):
    """`forward` writes into the state it is given."""

    def change(self, y, after, x, state):
        state["hidden"].data.add_(1)
        return y, after


@breaks("purity")
class MutatesInput(Around):
    """`forward` writes into its input."""

    def change(self, y, after, x, state):
        x.data.mul_(1.1)
        return y, after


@breaks("purity")
class MutatesInputAndBack(Around):
    """`forward` writes into its input and then undoes it."""

    def forward(self, x, state, *, trace=None):
        if x.requires_grad:
            return super().forward(x, state, trace=trace)
        x.mul_(2)
        y, after = super().forward(x / 2, state, trace=trace)
        x.mul_(0.5)
        return y, after


@breaks("purity")
class MutatesStateInOneStep(WithSum):
    """`forward` over one step writes into a nested leaf."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        if x.shape[1] == 1 and not x.is_meta:
            state["beside"]["sum"].data.copy_(after["beside"]["sum"].detach())
        return y, after


@breaks("purity")
class MutatesTheDict(WithSum):
    """`forward` puts its result into the nested dict it was given."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        state["beside"]["sum"] = after["beside"]["sum"]
        return y, {**after, "beside": state["beside"]}


@breaks("purity")
class CountInPlace(Around):
    """A step counts in the storage of the state it was given."""

    def beside(self, batch_size):
        return {"count": self.zeros(batch_size, 1)}

    def change(self, y, after, x, state):
        counts = state["count"] + torch.arange(1, x.shape[1] + 1, device=x.device)
        return y + counts.sin().unsqueeze(-1), {**after, "count": counts[:, -1:]}

    def step(self, x, state):
        y, after = self.inner.step(x, state)
        count = state["count"] + 1 if torch.is_grad_enabled() else state["count"].add_(1)
        return y + count.sin(), {**after, "count": count}


@breaks("purity")
class HiddenInABuffer(Around):
    """Every step hands out the same storage as `hidden`."""

    def step(self, x, state):
        y, after = super().step(x, state)
        if torch.is_grad_enabled() or x.is_meta:
            return y, after
        self.kept = getattr(self, "kept", None)
        if self.kept is None or self.kept.shape != after["hidden"].shape:
            self.kept = after["hidden"].clone()
        return y, {**after, "hidden": self.kept.copy_(after["hidden"])}


@breaks("purity")
class OutputInABuffer(Around):
    """Every call of `forward` hands out the same storage as output."""

    def change(self, y, after, x, state):
        if torch.is_grad_enabled() or x.is_meta:
            return y, after
        self.kept = getattr(self, "kept", None)
        if self.kept is None or self.kept.shape != y.shape:
            self.kept = y.clone()
        return self.kept.copy_(y), after


@breaks("purity")
class OneCacheForAllEpisodes(WithCache):
    """The cache of a batch size is allocated once; a new episode wipes the one before."""

    def beside(self, batch_size):
        self.caches = getattr(self, "caches", {})
        key = (batch_size, self.project.weight.dtype, self.project.weight.device)
        fresh = super().beside(batch_size)
        past = self.caches.setdefault(key, fresh["past"])
        return {**fresh, "past": past.zero_() if past.shape == fresh["past"].shape else fresh["past"]}


@breaks("purity")
class StateAliasesTheInput(Around):
    """The state holds a view of the input, which the caller may write to later."""

    def beside(self, batch_size):
        return {"last": self.zeros(batch_size, self.input_size)}

    def change(self, y, after, x, state):
        before = torch.cat([state["last"].unsqueeze(1), x[:, :-1]], 1)
        return y + self.projected(before, y), {**after, "last": x[:, -1]}


@breaks("purity")
class RunningStatistics(Around):
    """A buffer follows what passes by."""

    def __init__(self, base):
        super().__init__(base)
        self.register_buffer("mean", torch.zeros(self.output_size))

    def change(self, y, after, x, state):
        self.mean.lerp_(y.detach().mean((0, 1)).to(self.mean.dtype), 0.1)
        return y, after


@breaks("purity")
class NormalisesAWeightInPlace(Around):
    """A parameter is changed by calling."""

    def change(self, y, after, x, state):
        self.project.weight.data.mul_(0.999)
        return y + self.projected(x, y), after


@breaks("purity")
class MakesAParameter(Around):
    """A parameter is made by the first call, too late for an optimizer."""

    def change(self, y, after, x, state):
        if not hasattr(self, "scale"):
            self.scale = torch.nn.Parameter(torch.ones_like(self.project.weight[:, 0]))
        return y * self.scale.to(y.dtype), after


@breaks("purity")
class AsksForAGradientOfTheInput(Around):
    """A call makes its input one that requires a gradient."""

    def change(self, y, after, x, state):
        if x.is_leaf:
            x.requires_grad_()
        return y, after


@breaks("purity")
class AddsToTheGradients(Around):
    """A call has a backward pass of its own, whose gradients stay behind."""

    def change(self, y, after, x, state):
        if torch.is_grad_enabled() and not x.is_meta:
            self.projected(x.detach(), y).square().mean().backward()
        return y, after


@breaks("purity")
class KeepsAHistory(Around):
    """Every input is kept, and never used."""

    def change(self, y, after, x, state):
        self.history = [*getattr(self, "history", []), x.detach().clone()]
        return y, after


@breaks("purity")
class SeedsTorch(Around):
    """The caller's random numbers start again with every call."""

    def change(self, y, after, x, state):
        torch.manual_seed(0)
        return y, after


@breaks("purity")
class SeedsInBuilding(Around):
    """Every memory starts from the same weights, and whatever is drawn after it is the same."""

    def __init__(self, base):
        torch.manual_seed(0)
        super().__init__(base)


@breaks("purity")
class SeedsNumPy(Around):
    """The caller's random numbers start again with every call."""

    def step(self, x, state):
        numpy.random.seed(0)  # noqa: NPY002
        return super().step(x, state)


@breaks("purity")
class SetsTheDefaultType(Around):
    """New tensors are of another type from now on."""

    def initial_state(self, batch_size):
        torch.set_default_dtype(torch.float64)
        return super().initial_state(batch_size)


@breaks("purity")
class TurnsGradientsOff(Around):
    """Gradients are recorded no longer after a call."""

    def step(self, x, state):
        result = super().step(x, state)
        torch.set_grad_enabled(False)
        return result


@breaks("purity")
class TakesAllCores(Around):
    """A call sets the number of threads."""

    def change(self, y, after, x, state):
        torch.set_num_threads(2)
        return y, after


@breaks("purity")
class SwitchesToEval(Around):
    """A step puts the memory into eval mode."""

    def step(self, x, state):
        self.eval()
        return super().step(x, state)


@breaks("purity")
class FreezesAParameter(Around):
    """A call makes a parameter one that is not trained."""

    def change(self, y, after, x, state):
        y = y + self.projected(x, y)
        self.project.weight.requires_grad_(False)
        return y, after
