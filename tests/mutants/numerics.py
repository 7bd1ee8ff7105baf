"""Faults of shapes, types, devices and storage."""

import torch
from torch import nn

from mutants.around import Around, WithSum, breaks


@breaks("state shape")
class GrowingState(Around):
    """A leaf grows with time."""

    def change(self, y, after, x, state):
        return y, {**after, "hidden": torch.cat([state["hidden"], y[:, -1]], 1)}


@breaks("state shape")
class SquareLeaf(Around):
    """A leaf with a second batch axis, which no selection of rows can serve."""

    def beside(self, batch_size):
        return {"square": self.zeros(batch_size, batch_size)}


@breaks("state shape")
class CounterIsANumber(Around):
    """A leaf that is no tensor."""

    def beside(self, batch_size):
        return {"count": 0}

    def change(self, y, after, x, state):
        return y, {**after, "count": state["count"] + x.shape[1]}


@breaks("state shape")
class StateTypeChanges(WithSum):
    """A leaf is of another type after a step."""

    def change(self, y, after, x, state):
        y, after = super().change(y, after, x, state)
        return y, {**after, "hidden": after["hidden"].to(torch.float16)}


@breaks("state shape")
class StillHidden(Around):
    """`hidden` is there and never set."""

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, 1), "inner": self.inner.initial_state(batch_size)}

    def forward(self, x, state, *, trace=None):
        y, after = self.inner(x, state["inner"], trace=trace)
        return y, {"hidden": state["hidden"], "inner": after}


@breaks("state shape")
class ConstantHidden(StillHidden):
    """`hidden` says that there was a step, and nothing else."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return y, {**after, "hidden": torch.ones_like(state["hidden"])}


@breaks("state shape")
class WrongOutputSize(Around):
    """`output_size` is not the size of the output."""

    def change(self, y, after, x, state):
        return torch.cat([y, y], -1), after


@breaks("state shape")
class TraceWithoutRows(Around):
    """What is recorded is of one row."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state)
        if trace is not None:
            trace.record("hidden", y[0])
        return y, after


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
class StateTypeDependsOnTheCall(WithSum):
    """A step, and nothing else, leaves the sum in the type that autocast computes in."""

    def step(self, x, state):
        y, after = super().step(x, state)
        return y, {**after, "beside": {"sum": after["beside"]["sum"].to(self.project(x).dtype)}}


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
