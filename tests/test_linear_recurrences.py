"""Linear recurrences: fast forms against plain loops, and memories against their equations."""

import pytest
import torch

from architectures import linear_scan as scans
from architectures import matrix_memory
from architectures.ffm import FFMMixer
from architectures.lru import LRUMixer
from architectures.mlstm import MLSTM
from architectures.shm import STRIDE, SHMMixer

ROWS = 3


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def gradients_of(outputs, inputs):
    """Gradients of a function of all outputs, the same for outputs of the same values."""
    losses = [torch.view_as_real(y).sin() if y.is_complex() else y.sin() for y in outputs]
    return torch.autograd.grad(sum(loss.sum() for loss in losses), inputs)


def assert_same(functions, arguments):
    results = [
        [*(y := as_tuple(function(*arguments))), *gradients_of(y, arguments)] for function in functions
    ]
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            torch.testing.assert_close(another, one, atol=1e-10, rtol=1e-10)


def as_tuple(y):
    return y if isinstance(y, tuple) else (y,)


def by_doubling(decays, inputs, state):
    return scans._scan_by_doubling(decays.expand_as(inputs), inputs, state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("decay_shape", [(ROWS, 9, 4), (1, 1, 4), (ROWS, 9, 1), (ROWS, 1, 4)])
def test_the_scans_equal_their_reference(dtype, decay_shape):
    sizes = torch.rand(decay_shape, dtype=torch.float64)
    angles = torch.rand(decay_shape, dtype=torch.float64)
    decays = torch.polar(sizes, angles) if dtype.is_complex else sizes
    arguments = (decays, torch.randn(ROWS, 9, 4, dtype=dtype), torch.randn(ROWS, 4, dtype=dtype))
    arguments = [argument.requires_grad_() for argument in arguments]
    assert_same([scans.linear_scan_reference, scans.linear_scan, by_doubling], arguments)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 8, 33])
def test_doubling_reaches_every_step(num_steps):
    arguments = torch.rand(1, num_steps, 2), torch.randn(1, num_steps, 2), torch.randn(1, 2)
    torch.testing.assert_close(by_doubling(*arguments), scans.linear_scan_reference(*arguments))


def memory_arguments(num_steps):
    shape = (ROWS, num_steps, 2)
    queries, keys = torch.randn(*shape, 4), torch.randn(*shape, 4).double()
    keys = keys / keys.norm(dim=-1, keepdim=True)
    values, log_decays = torch.randn(*shape, 5), -torch.rand(shape)
    memory = torch.randn(ROWS, 2, 4, 5)
    found = (queries, keys, values, torch.rand(shape), log_decays, memory)
    return [argument.double().requires_grad_() for argument in found]


@pytest.mark.parametrize("num_steps", [1, 7, 64, 130])
def test_the_matrix_memory_equals_its_reference(num_steps):
    q, k, v, _, log_decays, memory = memory_arguments(num_steps)
    functions = [matrix_memory.write_and_read_reference, matrix_memory.write_and_read]
    assert_same(functions, [q, k, v, log_decays, memory])


@pytest.mark.parametrize("num_steps", [1, 7, 64, 130])
def test_the_delta_rule_equals_its_reference(num_steps):
    functions = [matrix_memory.correct_and_read_reference, matrix_memory.correct_and_read]
    assert_same(functions, memory_arguments(num_steps))


def test_what_the_delta_rule_holds_already_it_does_not_write_again():
    _, k, v, _, log_decays, memory = memory_arguments(1)
    ones, never = torch.ones_like(log_decays), torch.zeros_like(log_decays)
    reads, once = matrix_memory.correct_and_read(k, k, v, ones, never, memory)
    torch.testing.assert_close(reads, v)
    _, twice = matrix_memory.correct_and_read(k, k, v, ones, never, once)
    torch.testing.assert_close(twice, once)


def test_ffm_computes_its_docstring():
    mixer = FFMMixer(6, 5, 3, (2.0, 1000.0)).double()
    x = torch.randn(ROWS, 11, 6).double()
    S = torch.randn(ROWS, 5, 3, 2).double()
    y, after = mixer(x, {"traces": S})
    gamma = torch.exp(torch.complex(-mixer.alpha.abs().unsqueeze(1), mixer.omega.expand(5, 3)))
    S = torch.view_as_complex(S)
    for t in range(11):
        u = mixer.feature(x[:, t]) * mixer.feature_gate(x[:, t]).sigmoid()
        S = gamma * S + u.unsqueeze(2)
        z = mixer.mix(torch.cat([S.real.flatten(1), S.imag.flatten(1)], dim=1))
        g = mixer.gate(x[:, t]).sigmoid()
        normalised = (z - z.mean(1, keepdim=True)) / (z.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        torch.testing.assert_close(y[:, t], normalised * g + mixer.skip(x[:, t]) * (1 - g))
    torch.testing.assert_close(torch.view_as_complex(after["traces"]), S)


def test_shm_computes_its_docstring():
    mixer = SHMMixer(6, memory_size=5, num_calibrations=4).double()
    x, M = torch.randn(ROWS, 11, 6).double(), torch.randn(ROWS, 5, 5).double()
    position = torch.tensor([[0.0], [3.0], [9.0]]).double()
    y, after = mixer(x, {"memory": M, "position": position})

    def share(u):
        return u.clamp(min=0) / (1e-5 + u.clamp(min=0).sum(1, keepdim=True))

    for t in range(11):
        rows = ((position[:, 0].long() + t) * STRIDE) % 4
        C = 1 + torch.tanh(torch.einsum("bi,bj->bij", mixer.calibrations[rows], mixer.calibration(x[:, t])))
        v, k, q = mixer.value(x[:, t]), share(mixer.key(x[:, t])), share(mixer.query(x[:, t]))
        eta = mixer.write_gate(x[:, t]).sigmoid()
        M = M * C + torch.einsum("bi,bj->bij", eta * v, k)
        torch.testing.assert_close(y[:, t], mixer.output(torch.einsum("bij,bj->bi", M, q)))
    torch.testing.assert_close(after["memory"], M)
    assert after["position"].flatten().tolist() == [11, 14, 20]


def test_shm_s_calibrations_take_turns():
    with pytest.raises(ValueError, match="num_calibrations 6: must be a power of two"):
        SHMMixer(6, memory_size=5, num_calibrations=6)
    rows = {(position * STRIDE) % 128 for position in range(128)}
    assert rows == set(range(128))


def test_lru_s_time_constants_lie_in_their_range():
    mixer = LRUMixer(8, 4000, (10.0, 100.0), 0.5)
    timescales = 1 / mixer.nu_log.exp()
    assert timescales.min() > 9.99 and timescales.max() < 100.1
    assert 28 < timescales.median() < 36  # log-uniform: near the geometric mean, 31.6
    size = torch.exp(-mixer.nu_log.exp())
    torch.testing.assert_close(mixer.gamma_log.exp(), (1 - size.square()).sqrt())
    assert 0 < mixer.theta_log.exp().max() <= 0.5


@pytest.mark.parametrize("seed", range(20))
def test_gradients_of_the_mlstm_are_finite_where_both_gates_are_shut(seed):
    torch.manual_seed(seed)
    memory = MLSTM(5, hidden_size=64)
    y, _ = memory(200 * torch.randn(4, 3, 5), memory.initial_state(4))
    y.square().mean().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in memory.parameters())
