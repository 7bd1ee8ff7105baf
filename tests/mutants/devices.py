"""Faults of devices: something is not where the parameters are."""

import torch

from mutants.around import Around, breaks


@breaks("device cleanliness")
class TensorOnTheCPU(Around):
    """A tensor is created on the CPU."""

    def forward(self, x, state, *, trace=None):
        return super().forward(x + torch.ones(x.shape[-1], dtype=x.dtype, device="cpu"), state, trace=trace)


@breaks("device cleanliness")
class StateOnTheCPU(Around):
    """A leaf of the initial state is created on the CPU."""

    def beside(self, batch_size):
        return {"count": torch.zeros(batch_size)}


class _CPUOnTheWayBack(torch.autograd.Function):
    """The identity, with a tensor of the CPU on the way back."""

    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0] * torch.ones(gradients[0].shape[-1], dtype=gradients[0].dtype)


@breaks("device cleanliness")
class CPUOnTheWayBack(Around):
    """The backward pass creates a tensor on the CPU."""

    def change(self, y, after, x, state):
        return _CPUOnTheWayBack.apply(y), after


@breaks("device cleanliness")
class CPUInOneStep(Around):
    """A call of `forward` over one step creates a tensor on the CPU."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return (y + torch.zeros(y.shape[-1], dtype=y.dtype) if x.shape[1] == 1 else y), after

    def step(self, x, state):
        return self.inner.step(x, state)


@breaks("device cleanliness")
class CPUInLongCalls(Around):
    """A call of more than 64 steps creates a tensor on the CPU."""

    def change(self, y, after, x, state):
        return (y + torch.zeros(y.shape[-1], dtype=y.dtype) if x.shape[1] > 64 else y), after


@breaks("device cleanliness")
class CPUInEval(Around):
    """A tensor is created on the CPU in eval mode."""

    def change(self, y, after, x, state):
        return (y if self.training else y + torch.zeros(y.shape[-1], dtype=y.dtype)), after


@breaks("device cleanliness")
class CPUWhenTraced(Around):
    """A tensor is created on the CPU when somebody is looking."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return (y if trace is None else y + torch.zeros(y.shape[-1], dtype=y.dtype)), after


@breaks("device cleanliness")
class TableInAnAttribute(Around):
    """A table that is no buffer stays where it was made."""

    def __init__(self, base):
        super().__init__(base)
        self.table = torch.linspace(0, 1, self.output_size, dtype=torch.float64)

    def change(self, y, after, x, state):
        return y + self.table.to(y.dtype), after


@breaks("device cleanliness")
class TableStaysBehind(Around):
    """A table that the first call makes stays where it was when the memory moves on."""

    def change(self, y, after, x, state):
        if not hasattr(self, "table"):
            self.table = torch.linspace(0, 1, self.output_size, dtype=y.dtype, device=y.device)
        return y + self.table.to(y.dtype), after
