"""What an agent is made of and what it costs, without training it."""

import platform
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from membench.agent import Agent, build_agent
from membench.config import RunConfig
from membench.envs import make_task
from membench.memory import Memory, State


def count_parameters(agent: Agent) -> dict[str, int]:
    """Return the trainable parameters per part: the memory's children, the two heads, and `total`."""
    parts: dict[str, nn.Module] = dict(agent.memory.named_children())
    parts |= {"policy_head": agent.policy_head, "value_head": agent.value_head, "action_std": agent.head}
    counts = {name: _trainable(part) for name, part in parts.items()}
    total = _trainable(agent)
    counts["other"] = total - sum(counts.values())
    return {name: count for name, count in counts.items() if count} | {"total": total}


def _trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def state_bytes(memory: Memory) -> int:
    """Return the bytes of state that one environment carries."""

    def size(state: State) -> int:
        return sum(
            size(leaf) if isinstance(leaf, dict) else leaf.numel() * leaf.element_size()
            for leaf in state.values()
        )

    return size(memory.initial_state(1))


def flops_per_step(memory: Memory, num_steps: int) -> float:
    """Return the floating-point operations of matrix products per step of an episode, forward.

    Counted, not timed: on the meta device, by `torch.utils.flop_counter`, averaged over `num_steps` steps.
    Element-wise work (gates, norms, scans) is not in it.
    """
    with torch.device("meta"):
        x = torch.empty(1, num_steps, memory.input_size)
    memory = memory.to("meta").requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        memory(x, memory.initial_state(1))
    return counter.get_total_flops() / num_steps


def seconds_per_acting_step(agent: Agent, num_steps: int) -> float:
    """Return the median wall time of one step in one environment, on one thread, over `num_steps` steps."""
    torch.set_num_threads(1)
    obs, state, seconds = torch.zeros(1, agent.memory.input_size), agent.initial_state(1), []
    with torch.inference_mode():
        for _ in range(num_steps):
            before = time.perf_counter()
            *_, state, _ = agent(obs, state)
            seconds.append(time.perf_counter() - before)
    return median(seconds)


def describe_agent(config: RunConfig) -> dict[str, Any]:
    """Return everything on this page about the agent of `config`, ready for JSON."""
    task = make_task(config.task)
    agent = build_agent(config, task)
    return {
        "name": config.architecture,
        "task": config.task,
        "parameters": count_parameters(agent),
        "state_bytes": state_bytes(agent.memory),
        "seconds_per_acting_step": seconds_per_acting_step(agent, task.max_episode_steps),
        "flops_per_step": flops_per_step(agent.memory, task.max_episode_steps),
    }


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("membench", "torch", "numpy", "gymnasium")},
    }


def machine() -> dict[str, str | int]:
    """Return what a result's timings depend on."""
    return {
        "system": platform.platform(terse=True),
        "processor": _processor_name(),
        "cores": psutil.cpu_count(logical=True) or 1,
        "memory_bytes": psutil.virtual_memory().total,
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
