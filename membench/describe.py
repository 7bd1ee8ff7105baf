"""What an agent is made of and what it costs, without training it."""

import platform
from importlib.metadata import version

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from membench.agent import Agent
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
    memory = memory.to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        memory(x, memory.initial_state(1))
    return counter.get_total_flops() / num_steps


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
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
