"""Faults that show only in a mode or after a while, planted around sound memories; each must be found."""

import pytest
import torch
from torch import nn

from membench.catalogue import build_memory, memory_options
from membench.check import INPUT_SIZE, TEST_SIZES, examine_law
from membench.laws import HARNESS_LAWS, LAWS, STEPS
from membench.memory import Memory, detach


class Around(Memory):
    """A memory and something beside it; sound as it stands."""

    def __init__(self, base):
        sizes = {key: value for key, value in TEST_SIZES.items() if key in memory_options(base)}
        inner = build_memory(base, INPUT_SIZE, context_length=STEPS, **sizes)
        super().__init__(INPUT_SIZE, inner.output_size)
        self.inner = inner
        self.project = nn.Linear(INPUT_SIZE, self.output_size, bias=False)

    def beside(self, batch_size):
        return {}

    def initial_state(self, batch_size):
        return {**self.inner.initial_state(batch_size), **self.beside(batch_size)}

    def forward(self, x, state, *, trace=None):
        y, after = self.inner(x, state, trace=trace)
        return y, {**{name: state[name] for name in self.beside(1)}, **after}


class CountInPlace(Around):
    """A step counts in the storage of the state it was given."""

    def beside(self, batch_size):
        return {"count": self.zeros(batch_size, 1)}

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        counts = state["count"] + torch.arange(1, x.shape[1] + 1, device=x.device)
        return y + counts.sin().unsqueeze(-1), {**after, "count": counts[:, -1:].to(x.dtype)}

    def step(self, x, state):
        y, after = self.inner.step(x, state)
        count = state["count"] + 1 if torch.is_grad_enabled() else state["count"].add_(1)
        return y + count.sin(), {**after, "count": count}


class HiddenInABuffer(Around):
    """Every step hands out the same storage as `hidden`."""

    def step(self, x, state):
        y, after = self.inner.step(x, state)
        if torch.is_grad_enabled() or x.is_meta:
            return y, after
        self.kept = getattr(self, "kept", None)
        if self.kept is None or self.kept.shape != after["hidden"].shape:
            self.kept = after["hidden"].clone()
        return y, {**after, "hidden": self.kept.copy_(after["hidden"])}


class OtherWhenRecording(Around):
    """Outputs are larger while gradients are recorded."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return y * (1.01 if torch.is_grad_enabled() else 1.0), after


class OtherWhenTraced(Around):
    """Outputs change while somebody is looking."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return y + (trace is not None), after


class DetachedParameter(Around):
    """A learned initial state that cannot be learned."""

    def __init__(self, base):
        super().__init__(base)
        self.start = nn.Parameter(torch.randn(self.output_size))

    def beside(self, batch_size):
        return {"start": self.start.detach().expand(batch_size, -1)}

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return y + state["start"].unsqueeze(1), after


class DetachedAtEveryStep(Around):
    """A part of the state that is cut from the graph at every step, however steps fall into calls."""

    def beside(self, batch_size):
        return {"sum": self.zeros(batch_size, self.output_size)}

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        total, totals = state["sum"], []
        for value in self.project(x).unbind(1):
            total = 0.9 * total.detach() + value
            totals.append(total)
        return y + torch.stack(totals, 1), {**after, "sum": total}


class DetachedEvery32Steps(Around):
    """A long call is cut into pieces through which gradients do not flow."""

    def forward(self, x, state, *, trace=None):
        outputs = []
        for piece in x.split(32, dim=1):
            y, state = super().forward(piece, detach(state) if outputs else state)
            outputs.append(y)
        return torch.cat(outputs, 1), state


class LeakInStep(Around):
    """Rows meet in batches whose rows are as old as each other, as those of a rollout are."""

    def beside(self, batch_size):
        return {"age": self.zeros(batch_size, 1)}

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        is_even_aged = not x.is_meta and bool((state["age"] == state["age"][:1]).all())
        return y + 1e-3 * is_even_aged * y.mean(0), {**after, "age": state["age"] + x.shape[1]}


class Backward(torch.autograd.Function):
    """The identity, with a tensor of the CPU on the way back."""

    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0] * torch.ones(gradients[0].shape[-1], dtype=gradients[0].dtype)


class CPUOnTheWayBack(Around):
    """The backward pass creates a tensor on the CPU."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        return Backward.apply(y), after


class SquareLeaf(Around):
    """A leaf with a second batch axis, which no selection of rows can serve."""

    def beside(self, batch_size):
        return {"square": self.zeros(batch_size, batch_size)}


class StillHidden(Around):
    """`hidden` is there and never set."""

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, 1), "inner": self.inner.initial_state(batch_size)}

    def forward(self, x, state, *, trace=None):
        y, after = self.inner(x, state["inner"], trace=trace)
        return y, {"hidden": state["hidden"], "inner": after}


class RootOfNothing(Around):
    """A norm whose gradient at a silent observation is not finite."""

    def forward(self, x, state, *, trace=None):
        y, after = super().forward(x, state, trace=trace)
        projected = self.project(x)
        return y + projected * projected.square().sum(-1, keepdim=True).sqrt(), after


FAULTS = {
    CountInPlace: "purity",
    HiddenInABuffer: "purity",
    OtherWhenRecording: "determinism",
    OtherWhenTraced: "determinism",
    DetachedParameter: "gradient reach",
    DetachedAtEveryStep: "gradient reach",
    DetachedEvery32Steps: "gradient reach",
    LeakInStep: "row independence",
    CPUOnTheWayBack: "device cleanliness",
    SquareLeaf: "state shape",
    StillHidden: "state shape",
    RootOfNothing: "dtype",
}


@pytest.mark.parametrize("base", ["gru", "transformer", "mamba"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_subtle_fault_is_found(fault, base):
    law = FAULTS[fault]
    result = examine_law(law, LAWS[law], lambda: fault(base))
    assert not result.passed
    assert "Usually: " in result.detail  # found by the law, not by an accident of the planting


@pytest.mark.parametrize("base", ["gru", "transformer", "mamba"])
def test_what_the_faults_are_planted_in_is_sound(base):
    results = [examine_law(name, law, lambda: Around(base)) for name, law in (LAWS | HARNESS_LAWS).items()]
    assert [result for result in results if not result.passed] == []


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        (OtherWhenRecording, "first minibatch"),
        (LeakInStep, "independent episodes"),
        (LeakInStep, "padded rows"),
        (RootOfNothing, "padding is silent"),
    ],
)
def test_a_law_of_the_harness_finds_faults_of_a_memory(fault, law):
    assert not examine_law(law, HARNESS_LAWS[law], lambda: fault("gru")).passed


def test_a_step_that_is_not_forward_changes_the_rollout():
    class OtherStep(Around):
        def step(self, x, state):
            y, after = self.inner.step(x, state)
            return y + 0.1, after

    law = HARNESS_LAWS["open loop equals stepping"]
    assert not examine_law("open loop equals stepping", law, lambda: OtherStep("gru")).passed
