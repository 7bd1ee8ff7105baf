"""How quick things are, by pytest-benchmark: `make bench`. Elsewhere each runs once, untimed."""

import time
from importlib import import_module

import msgspec
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from architectures import ARCHITECTURES
from architectures.gru import GRU
from architectures.gru_pmm import PredictiveMemoryModule
from architectures.lstm import LSTM
from membench.agent import build_agent
from membench.allocator import keep_freed_memory
from membench.bench import bench_config, matmul_flops_per_second, measure_all
from membench.config import build_config, merge
from membench.devices import denormals_as_zero
from membench.envs import make_task
from membench.rollout import collect_open_loop, collect_stepping, draw_noise
from membench.sizing import match_parameters
from membench.suite import load_preset, load_suite
from membench.training import Training
from membench.tuning import NUM_PARAMETERS

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]
STEPS_PER_ITERATION = 2048
COMPARED = load_suite("horizons").architectures
"""Measured at every horizon; the others at horizon 20 alone, for some of them run step by step."""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    keep_freed_memory()
    with denormals_as_zero():  # as in a run
        yield


def config_on(device, architecture, horizon):
    config = match_parameters(build_config({"architecture": architecture, "device": device}), NUM_PARAMETERS)
    return bench_config(config, horizon, STEPS_PER_ITERATION)


def training_on(device, architecture, horizon):
    return Training(config_on(device, architecture, horizon), time.time())


def synchronised(function, device):
    """Wait for the device inside what is timed."""
    if device == "cpu":
        return function

    def run(*arguments):
        result = function(*arguments)
        torch.cuda.synchronize(device)
        return result

    return run


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("architecture", "horizon"),
    [(name, 20) for name in ARCHITECTURES]
    + [(name, horizon) for name in COMPARED for horizon in (100, 1000)],
)
def test_whole_iteration(benchmark, architecture, horizon, device):
    """A rollout of about 2,048 steps and four epochs on it."""
    benchmark.group = f"whole iteration, {device}, horizon {horizon}"
    training = training_on(device, architecture, horizon)
    benchmark.pedantic(synchronised(training.iterate, device), rounds=5, warmup_rounds=1)
    benchmark.extra_info["steps"] = training.config.ppo.num_envs * training.task.max_episode_steps
    if benchmark.enabled:  # in a process of its own, or the peak would be an earlier test's
        [cost] = measure_all([training.config], num_rounds=1)
        benchmark.extra_info["peak_memory_bytes"] = cost.memory_bytes
    assert all(parameter.isfinite().all() for parameter in training.agent.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_forward_and_backward(benchmark, architecture, device):
    """The memory alone, 32 episodes of horizon 20."""
    benchmark.group = f"memory forward and backward, {device}"
    memory = training_on(device, architecture, 20).agent.memory
    x = torch.randn(32, 22, memory.input_size, device=device)
    gradient = torch.randn(32, 22, memory.output_size, device=device)

    def run():
        memory.zero_grad()
        memory(x, memory.initial_state(32))[0].backward(gradient)

    benchmark.pedantic(synchronised(run, device), rounds=10, warmup_rounds=2)
    assert all(parameter.grad is not None for parameter in memory.parameters())


class PMMLayer(torch.nn.Module):
    """The deep dive's PMM without its encoder, called as a memory is."""

    def __init__(self, *, fused=True):
        super().__init__()
        self.pmm = PredictiveMemoryModule(256, num_slots=64, slot_size=128, num_read_heads=4, fused=fused)

    def initial_state(self, batch_size):
        return self.pmm.initial_memory.expand(batch_size, -1, -1)

    def forward(self, x, state):
        return self.pmm(x, state)


LAYERS = {
    "gru": lambda **options: GRU(256, hidden_size=256, num_layers=1, **options),
    "lstm": lambda **_: LSTM(256, hidden_size=256, num_layers=1),
    "pmm": PMMLayer,
}


@pytest.mark.parametrize(("episodes", "steps"), [(8, 22), (32, 22), (8, 1002)])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(benchmark, name, episodes, steps):
    """One layer of 256 units forward and backward, beside what a large matrix product reaches.

    The floating-point operations are those of the plain form's matrix products, whatever the fast form does.
    """
    benchmark.group = f"layer forward and backward, {episodes} episodes of {steps} steps, cpu"
    layer = LAYERS[name]()
    x = torch.randn(episodes, steps, 256, requires_grad=True)
    gradient = torch.randn_like(layer(x, layer.initial_state(episodes))[0])  # dense, as a layer's in training

    def run():
        layer.zero_grad()
        x.grad = None
        layer(x, layer.initial_state(episodes))[0].backward(gradient)

    benchmark.pedantic(run, rounds=30, warmup_rounds=3)
    assert x.grad is not None
    if benchmark.enabled:
        plain = LAYERS[name](fused=False).requires_grad_(False).to("meta")
        with FlopCounterMode(display=False) as counter:
            plain(x.detach().to("meta"), plain.initial_state(episodes))
        flops_per_second = 3 * counter.get_total_flops() / benchmark.stats.stats.median
        benchmark.extra_info["of_limit"] = flops_per_second / matmul_flops_per_second("cpu")
        benchmark.extra_info["steps_per_second"] = episodes * steps / benchmark.stats.stats.median


@pytest.mark.parametrize(("episodes", "steps"), [(32, 22), (32, 102), (8, 1002)])
@pytest.mark.parametrize("scan", ["selective_scan", "compiled_scan"])
def test_scan(benchmark, scan, episodes, steps):
    """Mamba's scan of 256 channels with 16 states, forward and backward, in PyTorch and by numba."""
    if scan == "compiled_scan":
        pytest.importorskip("numba", reason="needs numba")
    run_scan = getattr(import_module(f"architectures.{scan}"), scan)
    benchmark.group = f"scan forward and backward, {episodes} episodes of {steps} steps, cpu"
    x, b, c = (torch.randn(episodes, steps, size, requires_grad=True) for size in (256, 16, 16))
    step_sizes = torch.rand(episodes, steps, 256).mul_(0.1).requires_grad_()
    rates = (-8 * torch.rand(256, 16)).requires_grad_()
    initial = torch.zeros(episodes, 256, 16)

    def run():
        return torch.autograd.grad(
            run_scan(x, step_sizes, rates, b, c, initial)[0].sum(), [x, step_sizes, rates, b, c]
        )

    gradients = benchmark.pedantic(run, rounds=10, warmup_rounds=2)
    assert all(gradient.isfinite().all() for gradient in gradients)
    if benchmark.enabled:
        benchmark.extra_info["steps_per_second"] = episodes * steps / benchmark.stats.stats.median


def agent_of(name):
    """Return the deep dive's reference agent, or a memory of equal size, for episodes of 1,002 steps."""
    if name == "reference":
        preset = load_preset("doc")
        config = build_config(merge({"architecture": "gru_pmm"}, preset.settings_for("gru_pmm")))
    else:
        config = config_on("cpu", name, 1000)
    return build_agent(config, make_task(msgspec.structs.replace(config.task, horizon=1000)))


@pytest.mark.parametrize("position", [10, 1000])
@pytest.mark.parametrize("name", [*COMPARED, "reference"])
def test_acting_one_step_in_one_environment(benchmark, name, position):
    """A step without a batch axis, `position` steps into an episode."""
    benchmark.group = f"acting, one environment, step {position}, cpu"
    agent = agent_of(name)
    state = None
    with torch.inference_mode():
        for _ in range(position):
            *_, state, _ = agent(torch.zeros(4), state)
        action, *_ = benchmark.pedantic(agent, args=(torch.zeros(4), state), rounds=100, warmup_rounds=10)
    assert action.isfinite().all()


@pytest.mark.parametrize("collect", [collect_open_loop, collect_stepping])
def test_rollout(benchmark, collect):
    """32 episodes of horizon 20 with a GRU: open loop against stepping."""
    benchmark.group = "rollout, gru, cpu"
    training = training_on("cpu", "gru", 20)
    mode = training.envs.metadata["autoreset_mode"]
    envs = training.task.vector_env(32, discrete=True, autoreset_mode=mode)
    noise = draw_noise(training.agent, envs, training.random.actions)
    rollout = benchmark.pedantic(
        collect, args=(training.agent, envs), kwargs={"seed": 0, "noise": noise}, rounds=5, warmup_rounds=1
    )
    assert rollout.num_steps == 32 * 22


@pytest.mark.parametrize("horizon", [20, 1000])
def test_environment(benchmark, horizon):
    """Drawing 32 whole episodes of cue memory."""
    benchmark.group = f"environment, horizon {horizon}, cpu"
    config = build_config({"architecture": "gru"}).task
    envs = make_task(msgspec.structs.replace(config, horizon=horizon)).vector_env(32)
    episodes = benchmark.pedantic(envs.draw_episodes, args=(0,), rounds=20, warmup_rounds=2)
    assert episodes.observations.shape == (32, horizon + 2, 4)
