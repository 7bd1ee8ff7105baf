"""Fast paths over whole sequences against their plain references: outputs and gradients."""

from contextlib import nullcontext

import pytest
import torch

from architectures import ARCHITECTURES, additive_memory, content_addressing
from architectures.gru import run_by_equations
from architectures.gru_sequence import gru_sequence
from membench.catalogue import build_memory, memory_options
from membench.memory import Trace


def gradients_of(outputs, inputs):
    """Gradients of a fixed random projection of the outputs."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(y.shape, dtype=y.dtype, generator=generator) for y in outputs]
    return torch.autograd.grad(sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)), inputs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("steps", [1, 2, 60])
@pytest.mark.parametrize("layer", [gru_sequence, run_by_equations])
def test_a_gru_layer_equals_torch_s(layer, steps, dtype, tolerance):
    torch.manual_seed(0)
    gru = torch.nn.GRU(5, 7, batch_first=True).to(dtype)
    x = torch.randn(3, steps, 5, dtype=dtype, requires_grad=True)
    h = torch.randn(3, 7, dtype=dtype, requires_grad=True)
    inputs = [x, h, *gru.parameters()]
    expected, found = gru(x, h.unsqueeze(0))[0], layer(x, h, *gru.all_weights[0])
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    for one, other in zip(gradients_of([found], inputs), gradients_of([expected], inputs), strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=10 * tolerance)


def test_a_gru_layer_s_gradients_are_those_of_its_outputs():
    torch.manual_seed(0)
    weights = torch.nn.GRU(3, 4).double().all_weights[0]
    x, h = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    inputs = [tensor.detach().requires_grad_() for tensor in (x, h, *weights)]
    assert torch.autograd.gradcheck(gru_sequence, inputs)
    assert torch.autograd.gradgradcheck(run_by_equations, inputs)


WITH_FAST_PATHS = [name for name in ARCHITECTURES if "fused" in memory_options(name)]


@pytest.mark.parametrize("architecture", WITH_FAST_PATHS)
def test_without_its_fast_path_a_memory_computes_the_same(architecture):
    """Outputs and gradients of whole memories; a trace changes neither."""
    results = []
    for fused, trace in ((True, None), (False, None), (True, Trace()), (False, Trace())):
        torch.manual_seed(0)
        memory = build_memory(architecture, 3, {"hidden_size": 8, "fused": fused}, context_length=70).double()
        x = torch.randn(2, 70, 3, dtype=torch.float64)
        y, _ = memory(x, memory.initial_state(2), trace=trace)
        results.append([y.detach(), *gradients_of([y], list(memory.parameters()))])
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, another, atol=1e-9, rtol=1e-9)


def test_every_memory_with_a_fast_path_was_looked_at():
    slots = {"gru_pmm", "pmm_gated", "pmm_addressed", "pmm_sparse", "pmm_hierarchical"}
    assert set(WITH_FAST_PATHS) == {"gru", "mamba"} | slots


@pytest.mark.parametrize(
    ("architecture", "module", "fast"),
    [
        ("gru", "gru", "gru_sequence"),
        ("gru_pmm", "gru_pmm", "write_and_read"),
        ("pmm_addressed", "pmm_addressed", "write_and_read"),
        ("mamba", "mamba", "selective_scan"),
    ],
)
def test_fused_decides_which_way_is_taken(architecture, module, fast, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the fast path")

    monkeypatch.setattr(f"architectures.{module}.{fast}", refuse)
    monkeypatch.setattr("architectures.mamba.has_numba", lambda: False)
    for fused in (True, False):
        memory = build_memory(architecture, 3, {"hidden_size": 8, "fused": fused}, context_length=9)
        with pytest.raises(AssertionError, match="the fast path") if fused else nullcontext():
            memory(torch.randn(2, 5, 3), memory.initial_state(2))


ADDITIVE = (additive_memory.write_and_read, additive_memory.write_and_read_reference)
BY_CONTENT = (content_addressing.write_and_read, content_addressing.write_and_read_reference)


def accesses(function, steps, dtype):
    """Outputs and gradients of a memory of 4 slots x 6 features that 2 rows write to and read from."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, dtype=dtype, generator=generator).mul(0.5).requires_grad_()

    if function in ADDITIVE:
        inputs = [draw(2, steps, 4), draw(2, steps, 6), draw(2, steps, 4), draw(2, 4, 6)]
    else:
        inputs = [draw(2, steps, 6), draw(2, steps, 6), draw(2, steps, 3, 6), draw(2, 4, 6)]
    outputs = list(function(*inputs))
    return [tensor.detach() for tensor in (*outputs, *gradients_of(outputs, inputs))]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("steps", [1, 2, 64, 65, 150])
@pytest.mark.parametrize(("fast", "reference"), [ADDITIVE, BY_CONTENT], ids=["additive", "by content"])
def test_writing_and_reading_at_once_equals_step_by_step(fast, reference, steps, dtype, tolerance):
    for found, expected in zip(accesses(fast, steps, dtype), accesses(reference, steps, dtype), strict=True):
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(found / scale, expected / scale, atol=tolerance, rtol=tolerance)
