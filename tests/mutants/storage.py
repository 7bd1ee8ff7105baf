"""Faults of storage: what is saved is not the whole memory, or what is copied not another."""

import torch
from torch import nn

from mutants.around import Around, breaks


@breaks("save and load")
class RandomNumbersOfItsOwn(Around):
    """A random tensor that is neither parameter nor buffer."""

    def __init__(self, base):
        super().__init__(base)
        self.shift = torch.rand(()).item()

    def change(self, y, after, x, state):
        return y + self.shift, after


@breaks("save and load")
class BufferIsNotSaved(Around):
    """A random buffer that the state dict leaves out."""

    def __init__(self, base):
        super().__init__(base)
        self.register_buffer("table", torch.randn(self.output_size), persistent=False)

    def change(self, y, after, x, state):
        return y + self.table.to(y.dtype), after


@breaks("save and load")
class WeightsMergedWhenActing(Around):
    """What acting needs of the weights is computed at the first step and kept."""

    def change(self, y, after, x, state):
        if torch.is_grad_enabled() or x.is_meta:
            return y + (x.sum(-1, keepdim=True) * self.project.weight.sum()).to(y.dtype), after
        self.merged = getattr(self, "merged", None) or float(self.project.weight.sum())
        return y + x.sum(-1, keepdim=True) * self.merged, after


@breaks("save and load")
class WeightsMergedForAll(Around):
    """What a call needs of the weights is kept for the whole class, from the memory built last."""

    def __init__(self, base):
        super().__init__(base)
        type(self).merged = float(self.project.weight.sum())

    def change(self, y, after, x, state):
        return y + x.sum(-1, keepdim=True) * self.merged, after


@breaks("save and load")
class LayersInAList(Around):
    """A layer that is no submodule."""

    def __init__(self, base):
        super().__init__(base)
        self.layers = [nn.Linear(self.output_size, self.output_size)]

    def change(self, y, after, x, state):
        return y + self.layers[0](y.float()).to(y.dtype), after


@breaks("save and load")
class CannotBeCopied(Around):
    """An attribute holds a tensor with its graph, which deepcopy refuses."""

    def change(self, y, after, x, state):
        self.last = y
        return y, after


@breaks("save and load")
class CopiesAreTheOriginal(Around):
    """A copy is the memory itself."""

    def __deepcopy__(self, memo):
        return self


@breaks("save and load")
class SavesTooLittle(Around):
    """The state dict leaves out a parameter, and loading does not ask for it."""

    def change(self, y, after, x, state):
        return y + self.projected(x, y), after

    def state_dict(self, *args, **options):
        return {
            name: value
            for name, value in super().state_dict(*args, **options).items()
            if "project" not in name
        }

    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict=False)


@breaks("save and load")
class CopiesShareTheirWeights(Around):
    """A layer that is called through a function of the original."""

    def __init__(self, base):
        super().__init__(base)
        layer = self.project
        self.call = lambda x: layer(x)

    def change(self, y, after, x, state):
        return y + self.call(x).to(y.dtype), after
