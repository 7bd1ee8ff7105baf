"""How quick things are, by pytest-benchmark: `make bench`. Elsewhere each runs once, untimed."""

import time

import msgspec
import pytest
import torch

from architectures import ARCHITECTURES
from membench.allocator import keep_freed_memory
from membench.bench import bench_config
from membench.config import build_config
from membench.envs import TaskVectorEnv, make_task
from membench.rollout import collect_open_loop, collect_stepping, draw_noise
from membench.sizing import match_parameters
from membench.training import Training

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


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    keep_freed_memory()


def training_on(device, architecture, horizon):
    config = match_parameters(build_config({"architecture": architecture, "device": device}), 225_000)
    return Training(bench_config(config, horizon, STEPS_PER_ITERATION), time.time())


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
@pytest.mark.parametrize("horizon", [20, 100, 1000])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_whole_iteration(benchmark, architecture, horizon, device):
    """A rollout of about 2,048 steps and four epochs on it."""
    benchmark.group = f"whole iteration, {device}, horizon {horizon}"
    training = training_on(device, architecture, horizon)
    benchmark.pedantic(synchronised(training.iterate, device), rounds=5, warmup_rounds=1)
    benchmark.extra_info["steps"] = training.config.ppo.num_envs * training.task.max_episode_steps
    assert all(parameter.isfinite().all() for parameter in training.agent.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_forward_and_backward(benchmark, architecture, device):
    """The memory alone, 32 episodes of horizon 20."""
    benchmark.group = f"memory forward and backward, {device}"
    memory = training_on(device, architecture, 20).agent.memory
    x = torch.randn(32, 22, memory.input_size, device=device)

    def run():
        memory.zero_grad()
        memory(x, memory.initial_state(32))[0].sum().backward()

    benchmark.pedantic(synchronised(run, device), rounds=10, warmup_rounds=2)
    assert all(parameter.grad is not None for parameter in memory.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_acting_one_step_in_one_environment(benchmark, architecture):
    """A step without a batch axis, in the middle of an episode of horizon 100."""
    benchmark.group = "acting, one environment, cpu"
    agent = training_on("cpu", architecture, 100).agent
    state = None
    for _ in range(50):
        *_, state, _ = agent(torch.zeros(4), state)
    with torch.inference_mode():
        action, *_ = benchmark.pedantic(agent, args=(torch.zeros(4), state), rounds=100, warmup_rounds=10)
    assert 0 <= int(action) < 4


@pytest.mark.parametrize("collect", [collect_open_loop, collect_stepping])
def test_rollout(benchmark, collect):
    """32 episodes of horizon 20 with a GRU: open loop against stepping."""
    benchmark.group = "rollout, gru, cpu"
    training = training_on("cpu", "gru", 20)
    envs = TaskVectorEnv(training.task, 32, autoreset_mode=training.envs.metadata["autoreset_mode"])
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
    envs = TaskVectorEnv(make_task(msgspec.structs.replace(config, horizon=horizon)), 32)
    episodes = benchmark.pedantic(envs.draw_episodes, args=(0,), rounds=20, warmup_rounds=2)
    assert episodes.observations.shape == (32, horizon + 2, 4)
