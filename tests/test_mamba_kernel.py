"""mamba-ssm's kernel in place of our scan: which calls get it, and that the two agree."""

import inspect

import pytest
import torch

from architectures import mamba
from architectures.mamba import Mamba
from architectures.selective_scan import selective_scan_reference

INPUTS, HIDDEN, CHANNELS, STATES = 4, 16, 32, 3


def documented_kernel(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False,
                      return_last_state=False):  # fmt: skip
    """As mamba-ssm documents: u, delta [b d t], A [d n], B, C [b n t] -> y [b d t], the last h [b d n].

    "Note that the gradient of the last state is not considered in the backward pass."
    """
    assert (D, z, delta_bias, delta_softplus) == (None, None, None, False)
    assert u.shape == delta.shape == (len(u), CHANNELS, u.shape[2]) and A.shape == (CHANNELS, STATES)
    assert B.shape == C.shape == (len(u), STATES, u.shape[2])
    assert u.dtype == delta.dtype == B.dtype == C.dtype and A.dtype == torch.float32
    assert all(x.is_contiguous() for x in (u, delta, B, C))
    start = torch.zeros(len(u), CHANNELS, STATES)
    y, last = selective_scan_reference(u.mT, delta.mT, A, B.mT, C.mT, start)
    return (y.mT, last.detach()) if return_last_state else y.mT


@pytest.fixture
def memory():
    torch.manual_seed(0)
    return Mamba(INPUTS, hidden_size=HIDDEN, num_layers=2, state_size=STATES)


@pytest.fixture
def calls(monkeypatch):
    """Let the scan be called as on a CUDA device that has the kernel; return the calls' numbers of steps."""
    steps = []

    def kernel(u, *arguments, **options):
        steps.append(u.shape[2])
        return documented_kernel(u, *arguments, **options)

    monkeypatch.setattr(mamba, "has_kernel", lambda device: True)
    monkeypatch.setattr(mamba, "import_kernel", lambda: kernel)
    monkeypatch.setattr(mamba, "has_numba", lambda: False)
    return steps


def test_sequences_from_the_zero_state_go_to_the_kernel_and_nothing_else_does(memory, calls, monkeypatch):
    x = torch.randn(2, 9, INPUTS)
    y, state = memory(x, memory.initial_state(2))
    assert calls == [9, 9] and memory.kernels == {"mamba_ssm"}
    further, _ = memory(x, state)
    memory.step(x[:, 0], memory.initial_state(2))
    assert calls == [9, 9] and memory.kernels == {"mamba_ssm", "pytorch"}
    monkeypatch.setattr(mamba, "has_kernel", lambda device: False)
    expected, after = memory(x, memory.initial_state(2))
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(state["ssm"], after["ssm"], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(further, memory(x, after)[0], atol=1e-6, rtol=1e-5)


def test_numba_takes_whole_sequences_in_float32_and_nothing_else(memory):
    pytest.importorskip("numba", reason="needs numba")
    x = torch.randn(2, 9, INPUTS)
    y, state = memory(x, memory.initial_state(2))
    assert memory.kernels == {"numba"}
    memory.step(x[:, 0], state)
    assert memory.kernels == {"numba", "pytorch"}
    plain = Mamba(INPUTS, hidden_size=HIDDEN, num_layers=2, state_size=STATES, fused=False)
    plain.load_state_dict(memory.state_dict())
    torch.testing.assert_close(y, plain(x, plain.initial_state(2))[0], atol=1e-6, rtol=1e-5)
    in_double = Mamba(INPUTS, hidden_size=HIDDEN, state_size=STATES).double()
    in_double(x.double(), in_double.initial_state(2))
    assert in_double.kernels == {"pytorch"}


def gradients_over_two_segments(memory, x, cut):
    """Of what comes after `cut`, with respect to all that is learned."""
    memory.zero_grad()
    _, state = memory(x[:, :cut], memory.initial_state(len(x)))
    memory(x[:, cut:], state)[0].sum().backward()
    return [parameter.grad.clone() for parameter in memory.parameters()]


def test_a_state_of_the_kernel_s_passes_gradients_on(memory, calls, monkeypatch):
    x = torch.randn(2, 9, INPUTS)
    found = gradients_over_two_segments(memory, x, 5)
    assert calls == [5, 5]
    monkeypatch.setattr(mamba, "has_kernel", lambda device: False)
    torch.testing.assert_close(found, gradients_over_two_segments(memory, x, 5), atol=1e-5, rtol=1e-4)


def test_one_row_that_has_begun_keeps_all_from_the_kernel(memory, calls):
    state = memory.initial_state(2)
    state["ssm"][1] = 0.1
    memory(torch.randn(2, 9, INPUTS), state)
    assert calls == []


def test_the_kernel_is_not_asked_for_more_bits_than_it_has(memory, calls):
    memory.double()
    memory(torch.randn(2, 9, INPUTS).double(), memory.initial_state(2))
    assert calls == []


def test_on_a_cpu_without_numba_the_scan_is_ours(memory, monkeypatch):
    monkeypatch.setattr(mamba, "has_numba", lambda: False)
    memory(torch.randn(2, 9, INPUTS), memory.initial_state(2))
    assert memory.kernels == {"pytorch"}


@pytest.mark.parametrize("error", [ImportError, AttributeError, RuntimeError])
def test_a_package_that_does_not_load_is_as_good_as_none(error, monkeypatch):
    def failing(name):
        raise error(name)

    monkeypatch.setattr(mamba, "import_module", failing)
    assert not mamba.has_kernel.__wrapped__(torch.device("cuda"))


@pytest.fixture
def mamba_ssm():
    return pytest.importorskip(
        "mamba_ssm.ops.selective_scan_interface",
        reason="needs mamba-ssm, which needs a CUDA device",
        exc_type=(ImportError, AttributeError, RuntimeError),
    )


@pytest.mark.mamba
def test_our_scan_is_mamba_ssm_s_reference(mamba_ssm):
    torch.manual_seed(0)
    u, delta = torch.randn(2, CHANNELS, 40), torch.rand(2, CHANNELS, 40)
    A, B, C = -torch.rand(CHANNELS, STATES), torch.randn(2, STATES, 40), torch.randn(2, STATES, 40)
    expected, last = mamba_ssm.selective_scan_ref(u, delta, A, B, C, return_last_state=True)
    y, state = documented_kernel(u, delta, A, B, C, return_last_state=True)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, last, atol=1e-5, rtol=1e-5)


@pytest.mark.mamba
def test_the_kernel_takes_what_we_give_it(mamba_ssm):
    ours = inspect.signature(documented_kernel).parameters
    assert list(inspect.signature(mamba_ssm.selective_scan_fn).parameters) == list(ours)


@pytest.mark.mamba
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_kernel_computes_what_our_scan_does(memory, mamba_ssm):
    x = torch.randn(2, 40, INPUTS)
    expected, _ = memory(x, memory.initial_state(2))
    gradients = gradients_over_two_segments(memory, x, 24)
    memory.to("cuda")
    y, _ = memory(x.to("cuda"), memory.initial_state(2))
    assert "mamba_ssm" in memory.kernels
    torch.testing.assert_close(y.cpu(), expected, atol=1e-4, rtol=1e-4)
    on_cuda = gradients_over_two_segments(memory, x.to("cuda"), 24)
    for found, gradient in zip(on_cuda, gradients, strict=True):
        torch.testing.assert_close(found.cpu(), gradient, atol=1e-4 * gradient.abs().max().item(), rtol=1e-3)
