"""On a CUDA device: what memories compute there is what they compute on a CPU; runs there are as sound."""

import msgspec
import pytest
import torch
from test_checkpoints import train_with_breaks
from test_train import small_config, without_timings

from architectures import ARCHITECTURES
from membench.agent import build_memory
from membench.check import small_options
from membench.config import merge
from membench.devices import prepare_process
from membench.train import load_agent, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
INPUTS, ROWS, STEPS = 4, 3, 40
TINY = {"device": "cuda", "total_timesteps": 1_000}


def memory_of(architecture):
    prepare_process(small_config(device="cuda"))
    torch.manual_seed(0)
    return build_memory(architecture, INPUTS, small_options(architecture), context_length=STEPS)


def computed(memory, x):
    """Return outputs over two segments and single steps, and the gradients of what is learned."""
    memory.zero_grad()
    y, state = memory(x[:, :20], memory.initial_state(len(x)))
    z, state = memory(x[:, 20:36], state)
    outputs = [y, z]
    for x_t in x[:, 36:].unbind(1):
        y_t, state = memory.step(x_t, state)
        outputs.append(y_t.unsqueeze(1))
    outputs = torch.cat(outputs, dim=1)
    weights = torch.linspace(-1, 1, outputs[0].numel()).view(outputs[0].shape)
    (outputs * weights.to(x.device)).sum().backward()
    gradients = {name: parameter.grad.to("cpu", copy=True) for name, parameter in memory.named_parameters()}
    return outputs.detach().cpu(), gradients


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_memory_computes_on_cuda_what_it_does_on_a_cpu(architecture):
    memory = memory_of(architecture)
    x = torch.randn(ROWS, STEPS, INPUTS)
    x[1, 1:] = 0.0
    outputs, gradients = computed(memory, x)
    on_cuda, gradients_on_cuda = computed(memory.to("cuda"), x.to("cuda"))
    # Measured: up to 1.5e-5, in the RNN, whose orthogonal weights let no rounding fade.
    torch.testing.assert_close(on_cuda, outputs, atol=1e-4, rtol=1e-4)
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_on_cuda[name], gradient, atol=1e-4 * largest, rtol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_agent_learns_there_and_acts_anywhere(architecture, tmp_path):
    config = small_config(architecture=architecture, **TINY)
    config = msgspec.structs.replace(config, memory=small_options(architecture))
    record = train(config, weights=tmp_path / "weights.pt")
    assert record.status != "failed" and record.steps >= 1_000 and record.peak_memory_bytes > 0
    assert record.machine["gpu"] == torch.cuda.get_device_name()
    agent = load_agent(config, tmp_path / "weights.pt")
    action, *_ = agent(torch.zeros(INPUTS))
    assert action.isfinite().all()


@pytest.mark.parametrize(
    "settings",
    [
        {"compute": {"precision": "bfloat16"}},
        {"compute": {"steps_per_checkpoint": 2}},
        {"objective": "supervised"},
        {"ladder": True},
        {"objective": "maml", "memory": {"fused": False}},
        {"objective": "maml", "architecture": "gru_pmm", "memory": {"fused": False}},
        {"task": {"name": "ActiveTMaze-v0"}},
        {"agent": {"head": "gaussian"}, "ppo": {"num_minibatches": 4}},
    ],
    ids=str,
)
def test_what_can_be_set_can_be_set_there(settings):
    record = train(small_config(**merge(TINY, settings)))
    assert record.status in ("solved", "unsolved") and record.error is None


def test_the_same_seed_gives_the_same_record_there():
    first, second = (train(small_config(**TINY)) for _ in range(2))
    assert without_timings(first) == without_timings(second)


def test_an_interrupted_run_goes_on_there_as_if_it_had_not_been(tmp_path):
    config = small_config(**TINY)
    resumed, num_breaks = train_with_breaks(config, tmp_path, 3)
    assert num_breaks >= 2
    assert without_timings(resumed) == without_timings(train(config))
