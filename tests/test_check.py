"""The laws catch what they are for: faults are planted in sound memories, and each must be found."""

from functools import partial

import pytest
import torch

from membench.catalogue import build_memory, memory_options
from membench.check import INPUT_SIZE, TEST_SIZES, LawResult, check_architecture, examine_law
from membench.laws import HARNESS_LAWS, LAWS, STEPS
from membench.memory import detach, map_state

BASES = ("gru", "transformer", "mamba")


def sound_memory(base):
    sizes = {key: value for key, value in TEST_SIZES.items() if key in memory_options(base)}
    return build_memory(base, INPUT_SIZE, context_length=STEPS, **sizes)


def peek_ahead(memory, x, state, forward):
    return forward(torch.cat([x[:, 1:], x[:, -1:]], dim=1), state)


def leak_between_rows(memory, x, state, forward):
    return forward(x + 0.1 * x.mean(0, keepdim=True), state)


def mutate_state(memory, x, state, forward):
    result = forward(x, state)
    state["hidden"].add_(1)
    return result


def mutate_input(memory, x, state, forward):
    return forward(x.mul_(1.1), state)


def drop_initial_state(memory, x, state, forward):
    return forward(x, memory.initial_state(len(x)))


def dropout(memory, x, state, forward):
    return forward(torch.nn.functional.dropout(x, 0.5, training=memory.training), state)


def noise(memory, x, state, forward):
    y, state = forward(x, state)
    return y + 0.01 * torch.randn_like(y), state


def batch_norm(memory, x, state, forward):
    y, state = forward(x, state)
    return (y - y.mean(0)) / (y.std(0, correction=0) + 1), state


def norm_over_time(memory, x, state, forward):
    y, state = forward(x, state)
    return y / (1 + y.abs().amax(1, keepdim=True)), state


def detached_state(memory, x, state, forward):
    y, state = forward(x, state)
    return y, detach(state)


def growing_state(memory, x, state, forward):
    y, state = forward(x, state)
    return y, {**state, "hidden": torch.cat([state["hidden"], y[:, -1]], dim=1)}


def forgetful_state(memory, x, state, forward):
    y, state = forward(x, state)
    return y, map_state(lambda leaf: leaf * 0.9 if leaf.is_floating_point() else leaf, state)


def tensor_on_the_cpu(memory, x, state, forward):
    return forward(x + torch.ones(x.shape[-1], dtype=x.dtype, device="cpu"), state)


def overflow(memory, x, state, forward):
    y, state = forward(x, state)
    return y * torch.exp(x.abs().amax(-1, keepdim=True)), state


def memoryless(memory, x, state, forward):
    y, _ = forward(x.flatten(0, 1).unsqueeze(1), memory.initial_state(x.shape[0] * x.shape[1]))
    return y.reshape(*x.shape[:2], -1), state


FORWARD_FAULTS = {
    peek_ahead: "causality",
    leak_between_rows: "row independence",
    mutate_state: "purity",
    mutate_input: "purity",
    drop_initial_state: "segmentation",
    dropout: "determinism",
    noise: "determinism",
    batch_norm: "row independence",
    norm_over_time: "causality",
    detached_state: "gradient reach",
    growing_state: "state shape",
    forgetful_state: "segmentation",
    tensor_on_the_cpu: "device cleanliness",
    overflow: "dtype",
    memoryless: "gradient reach",
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("fault", FORWARD_FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_in_forward_is_found(fault, base):
    def build():
        memory = sound_memory(base)
        forward = memory.forward
        memory.forward = lambda x, state, *, trace=None: fault(
            memory, x, state, partial(forward, trace=trace)
        )
        memory.step = one_step(memory)
        return memory

    assert not examine_law(FORWARD_FAULTS[fault], LAWS[FORWARD_FAULTS[fault]], build).passed


def one_step(memory):
    """Return `Memory.step`: forward over one step."""

    def step(x, state):
        y, state = memory.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state

    return step


@pytest.mark.parametrize("base", BASES)
def test_a_step_that_differs_from_forward_is_found(base):
    def build():
        memory = sound_memory(base)
        step = memory.step
        memory.step = lambda x, state: step(0.99 * x, state)
        return memory

    assert not examine_law("segmentation", LAWS["segmentation"], build).passed


@pytest.mark.parametrize("base", BASES)
def test_random_numbers_outside_the_state_dict_are_found(base):
    def build():
        memory = sound_memory(base)
        forward, shift = memory.forward, torch.rand(INPUT_SIZE)
        memory.forward = lambda x, state, *, trace=None: forward(x + shift.to(x.dtype), state, trace=trace)
        return memory

    assert not examine_law("save and load", LAWS["save and load"], build).passed


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        (lambda memory, state: {**state, "position": 0 * state["position"]}, "segmentation"),
        (lambda memory, state: {**state, "position": state["position"].max().expand_as(state["position"])},
         "row independence"),
        (lambda memory, state: {**state, "cache": map_state(lambda leaf: leaf.roll(1, 2), state["cache"])},
         "segmentation"),
    ],
    ids=["a position that does not advance", "one position for all rows", "a cache that is off by one"],
)  # fmt: skip
def test_a_fault_in_the_cache_is_found(fault, law):
    def build():
        memory = sound_memory("transformer")
        forward = memory.forward

        def faulty(x, state, *, trace=None):
            y, state = forward(x, state, trace=trace)
            return y, fault(memory, state)

        memory.forward, memory.step = faulty, one_step(memory)
        return memory

    assert not examine_law(law, LAWS[law], build).passed


def test_a_memory_that_claims_to_forget_must():
    def build():
        memory = sound_memory("gru")
        memory.remembers = False
        return memory

    assert not examine_law("gradient reach", LAWS["gradient reach"], build).passed


def test_an_error_in_a_memory_is_a_broken_law():
    def build():
        raise RuntimeError("no such weight")

    assert examine_law("dtype", LAWS["dtype"], build) == LawResult(
        "dtype", False, "RuntimeError: no such weight"
    )


def test_a_sound_memory_passes_with_options_of_the_user():
    results = check_architecture("gru", {"hidden_size": 3, "num_layers": 1})
    assert [result.name for result in results] == [*LAWS, *HARNESS_LAWS]
    assert all(result.passed for result in results)
