"""Laws on where and in which numbers a memory computes, and on what it saves."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from membench.laws.subject import ROWS, Build, examine, leaves, require, require_same, seeded


class _OnlyMeta(TorchDispatchMode):
    """Refuses every tensor of one or more dimensions that is not on the meta device.

    The meta device alone does not: matrix products, indexing and copies take tensors of the CPU silently.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            require(
                not isinstance(leaf, Tensor) or leaf.dim() == 0 or leaf.is_meta,
                f"{func} meets a tensor on another device than the memory's",
                "a tensor created without `device=`",
            )
        return result


def device_cleanliness(build: Build) -> None:
    """Everything that `forward` and `step` touch lies on the memory's device."""
    with seeded(0):
        memory = build().to("meta")
    x = torch.empty(ROWS, 5, memory.input_size, device="meta")
    with torch.no_grad(), _OnlyMeta():
        _, state = memory(x, memory.initial_state(ROWS))
        memory.step(x[:, 0], state)


def finite(build: Build) -> None:
    """Under bfloat16 autocast outputs, states and gradients stay finite, over many large inputs too."""
    with seeded(0):
        memory = build()
    x = torch.randn(ROWS, 50, memory.input_size, generator=torch.Generator().manual_seed(0))
    x[1:] *= torch.tensor([0.0, 20.0, 100.0]).reshape(3, 1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = memory(x, memory.initial_state(ROWS))
        with torch.no_grad():
            stepped, _ = memory.step(x[:, 0], memory.initial_state(ROWS))
    usually = "an exponential or a division that needs a shift, a clamp or float32"
    y.float().square().mean().backward()
    gradients = {f"gradient of {name}": p.grad for name, p in memory.named_parameters() if p.grad is not None}
    for name, tensor in {"outputs": y, "step's output": stepped, **leaves(state), **gradients}.items():
        require(bool(tensor.isfinite().all()), f"{name}: not finite under bfloat16 autocast", usually)


@torch.no_grad()
def save_and_load(build: Build) -> None:
    """The state dict is all there is to a trained memory."""
    subject = examine(build, seed=0)
    memory, other = subject.memory, examine(build, seed=1).memory
    other.load_state_dict(memory.state_dict())
    x = subject.inputs(ROWS, 12)
    expected, _ = memory(x, memory.initial_state(ROWS))
    y, _ = other(x, other.initial_state(ROWS))
    usually = "random numbers kept outside parameters and buffers"
    require_same(y, expected, subject.tolerance, "another instance with the same state dict", usually)
