"""What an agent is made of and what it costs, without training it."""

import hashlib
import inspect
import platform
import subprocess
import time
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import architectures
from architectures import ARCHITECTURES
from membench.agent import Agent, build_agent
from membench.catalogue import load_architecture
from membench.compiler import leave_compiler_out
from membench.config import RunConfig
from membench.envs import make_task
from membench.envs.task import check_length
from membench.faults import blaming_memory
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
    """Return everything on this page about the agent of `config`, ready for JSON.

    Raises:
        InputError: for a task whose episodes are too long to be gone through step by step.
    """
    task = make_task(config.task)
    check_length(task.max_episode_steps, f"task.horizon {config.task.horizon}")
    leave_compiler_out()
    with blaming_memory(config.architecture):
        agent = build_agent(config, task)
        return {
            "name": config.architecture,
            "task": config.task,
            "parameters": count_parameters(agent),
            "state_bytes": state_bytes(agent.memory),
            "seconds_per_acting_step": seconds_per_acting_step(agent, task.max_episode_steps),
            "flops_per_step": flops_per_step(agent.memory, task.max_episode_steps),
        }


def versions(architecture: str | None = None) -> dict[str, str]:
    """Return the versions of what a result depends on.

    `code` is a digest of the modules that train, `commit` what is checked out where they lie in a repository
    of their own, `memory` a digest of the file of `architecture`, if that is not a built-in one.
    """
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("membench", "torch", "numpy", "gymnasium")},
        "code": CODE_DIGEST,
        **({"commit": commit} if (commit := _commit()) else {}),
        **({"memory": memory} if (memory := _memory_digest(architecture)) else {}),
    }


PACKAGE = Path(__file__).parent


def _digest(paths: Iterable[Path]) -> str:
    content = b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in sorted(paths))
    return hashlib.sha256(content).hexdigest()[:12]


CODE_DIGEST = _digest(
    path
    for folder in (PACKAGE, PACKAGE / "envs", Path(architectures.__file__).parent)
    for path in folder.glob("*.py")
)
"""Of membench without its reports, laws and commands, and of the built-in memories, when this was imported:
what is edited while a run goes on is not what it runs."""


@cache
def _commit() -> str | None:
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _memory_digest(architecture: str | None) -> str | None:
    if architecture is None or architecture in ARCHITECTURES:
        return None
    file = inspect.getsourcefile(load_architecture(architecture))
    return _digest([Path(file)]) if file else None


def machine(device: str) -> dict[str, str | int]:
    """Return what the timings of a result that was computed on `device` of this machine depend on."""
    has_gpu = device != "cpu" and torch.cuda.is_available()  # not where a run elsewhere is noted as failed
    return {
        "system": platform.platform(terse=True),
        "processor": processor_name(),
        "cores": psutil.cpu_count(logical=True) or 1,
        "memory_bytes": psutil.virtual_memory().total,
        **({"gpu": torch.cuda.get_device_name(device)} if has_gpu else {}),
    }


def processor_name() -> str:
    """Return the name of the processor's model, as far as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
