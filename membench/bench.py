"""What training with a memory costs: time and memory of whole PPO iterations, beside the processor's limit.

Every measurement has a process of its own, one after another, so that peak memory is its own and nothing
runs beside it.
"""

import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from statistics import median
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct
from scipy import stats

from membench.config import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    RunConfig,
    TaskConfig,
    build_config,
    merge,
    nest,
    to_settings,
)
from membench.envs import make_task
from membench.errors import InputError
from membench.faults import blaming_memory
from membench.stats import Interval

MATMUL_SIZE = 2048


class Cost(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the iterations of one memory at one horizon cost."""

    config: RunConfig
    num_steps: PositiveInt
    """Environment steps per iteration."""
    parameters: NonNegativeInt
    seconds: Annotated[list[PositiveFloat], Meta(min_length=1)]
    """Of every timed iteration: a rollout and the update on it."""
    flops_per_iteration: NonNegativeFloat
    """Of matrix products; a backward pass counts as two forward ones."""
    matmul_flops_per_second: PositiveFloat
    """What one large matrix product in float32 reaches in the same process, on the same device."""
    memory_bytes: NonNegativeInt
    """Peak above what the process held before the agent was built."""
    seconds_per_acting_step: NonNegativeFloat
    """Median over one episode in one environment."""

    @property
    def steps_per_second(self) -> float:
        """Of the median iteration."""
        return self.num_steps / median(self.seconds)

    @property
    def share_of_limit(self) -> float:
        """Achieved floating-point operations per second / those of the large matrix product."""
        return self.flops_per_iteration / median(self.seconds) / self.matmul_flops_per_second


class Measurements(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Costs, and what they depend on."""

    costs: list[Cost]
    machine: dict[str, str | int]
    versions: dict[str, str]


class Exponent(NamedTuple):
    """k, where cost per episode ~ horizon^k at a fixed number of steps per batch: 1 linear, 2 quadratic."""

    value: float
    interval: Interval | None
    """95 %; None from fewer than three horizons."""


def bench_config(config: RunConfig, horizon: int, steps_per_iteration: int) -> RunConfig:
    """Return `config` at `horizon`, with as many environments as fill an iteration, one at least.

    Raises:
        InputError: for a horizon or a setting that cannot be measured so.
    """
    if horizon < 1:
        raise InputError(f"--horizons {horizon}: growth is fitted on a logarithmic scale; must be at least 1")
    if config.ladder or config.curriculum:
        raise InputError("--set ladder, curriculum: bench measures at the horizons of --horizons only")
    task = msgspec.structs.replace(config.task, horizon=horizon)
    num_envs = max(1, round(steps_per_iteration / make_task(task).max_episode_steps))
    num_minibatches = min(config.ppo.num_minibatches, num_envs)
    ppo = {"num_envs": num_envs, "num_minibatches": num_minibatches}
    return build_config(merge(to_settings(config), nest("task.horizon", horizon), {"ppo": ppo}))


def measure_all(configs: Iterable[RunConfig], *, num_rounds: int) -> Iterator[Cost]:
    """Measure one configuration after another, each in a fresh process."""
    from membench.executors.processes import call_in_process

    for config in configs:
        yield msgspec.convert(call_in_process(_work, to_settings(config), num_rounds), Cost)


def _work(settings: dict, num_rounds: int) -> dict:
    config = msgspec.convert(settings, RunConfig)
    with blaming_memory(config.architecture):  # here, for no trace of an error leaves its process
        return msgspec.to_builtins(measure(config, num_rounds=num_rounds))


def measure(config: RunConfig, *, num_rounds: int) -> Cost:
    """Time whole iterations of `config` in this process, after one that is not counted."""
    import torch

    from membench.describe import count_parameters, flops_per_step, seconds_per_acting_step
    from membench.devices import denormals_as_zero, prepare_process
    from membench.training import Training
    from membench.usage import peak_memory_bytes

    prepare_process(config)
    smallest = bench_config(msgspec.structs.replace(config, task=TaskConfig()), 1, 1)
    Training(smallest, time.time()).iterate()  # loads what PyTorch loads on first use
    if config.device != "cpu":
        torch.cuda.reset_peak_memory_stats(config.device)
    before = peak_memory_bytes(config.device)
    training = Training(config, time.time())
    seconds = []
    with denormals_as_zero():  # as in a run
        training.iterate()
        for _ in range(num_rounds):
            started = training.training_seconds
            training.iterate()
            seconds.append(training.training_seconds - started)
    memory_bytes = peak_memory_bytes(config.device) - before
    length = training.task.max_episode_steps
    forward = config.ppo.num_envs * length * flops_per_step(deepcopy(training.agent.memory), length)
    return Cost(
        config=config,
        num_steps=training.steps // (1 + num_rounds),
        parameters=count_parameters(training.agent)["total"],
        seconds=seconds,
        flops_per_iteration=forward * (1 + 3 * config.ppo.num_epochs),
        matmul_flops_per_second=matmul_flops_per_second(config.device),
        memory_bytes=memory_bytes,
        seconds_per_acting_step=seconds_per_acting_step(training.agent, length),
    )


def matmul_flops_per_second(device: str) -> float:
    """Return what a large product of square fp32 matrices reaches on `device`: the best of five."""
    import torch

    a = torch.randn(MATMUL_SIZE, MATMUL_SIZE, device=device)
    product, seconds = torch.empty_like(a), []
    for _ in range(6):  # the first warms up
        if device != "cpu":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        torch.mm(a, a, out=product)
        if device != "cpu":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return 2 * MATMUL_SIZE**3 / min(seconds[1:])


def cost_exponent(horizons: list[int], costs_per_step: list[float]) -> Exponent:
    """Fit cost per step ~ horizon^(k - 1) by least squares on logarithms."""
    x, y = np.log(horizons), np.log(costs_per_step)
    if len(horizons) < 3:
        return Exponent(1 + float(np.polyfit(x, y, 1)[0]), None)
    coefficients, covariance = np.polyfit(x, y, 1, cov=True)
    slope, error = float(coefficients[0]), float(covariance[0, 0]) ** 0.5
    half = error * float(stats.t.ppf(0.975, len(horizons) - 2))
    return Exponent(1 + slope, Interval(1 + slope - half, 1 + slope + half))
