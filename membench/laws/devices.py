"""The law about devices: a memory computes where its parameters are."""

import torch

from membench.laws.comparing import leaves, require, trying
from membench.laws.subject import STEPS, Build, Subject, examine, name_mode, run, seeded
from membench.laws.watching import DeviceWatch
from membench.memory import Memory, Trace


def device_cleanliness(build: Build) -> None:
    """Everything is computed where the parameters are: tried on `meta`, refusing tensors anywhere else."""
    with seeded(0):
        memory = build()
    # In use before it moves, as when its cost is counted: what it keeps by then must move with it.
    subject = Subject(memory, torch.float32)
    run(memory, subject.inputs(2, 4), memory.initial_state(2), [3, -1])
    memory.to("meta")
    with DeviceWatch(torch.device("meta")):
        for num_steps in (1, 2):
            _stays_on_meta(memory, num_steps)
        with torch.no_grad():
            _stays_on_meta(memory, 2, trace=Trace())
            _stays_on_meta(memory.eval(), 2)
    _has_no_default_device(examine(build))


def _stays_on_meta(memory: Memory, num_steps: int, trace: Trace | None = None) -> None:
    x = torch.empty(2, num_steps, memory.input_size, device="meta")
    case = f"forward over {num_steps}, then step, {name_mode(torch.is_grad_enabled())}, on meta"
    usually = "a value is read from a tensor, by int(), item() or `if`; ask for `tensor.is_meta` first"
    with trying(case, usually):
        y, state = memory(x, memory.initial_state(2), trace=trace)
        y_step, state = memory.step(x[:, 0], state)
    for name, tensor in {"y": y, "step's y": y_step, **leaves(state)}.items():
        require(tensor.is_meta, f"{name} is on {tensor.device}: {case}", "a tensor created without a device")
    if y_step.requires_grad:
        (y.sum() + y_step.sum()).backward()


@torch.no_grad()
def _has_no_default_device(subject: Subject) -> None:
    """A long call, too slow on `meta`, computes on the CPU although new tensors are made on `meta`."""
    memory, x = subject.memory, subject.inputs(2, STEPS)
    state = memory.initial_state(2)
    case = f"forward over {STEPS}, on the CPU, where tensors without a device are made on meta"
    usually = "a tensor created without device=..., in a path that short calls do not take"
    with trying(case, usually), torch.device("meta"):
        y, after = memory(x, state)
    for name, tensor in {"y": y, **leaves(after)}.items():
        require(not tensor.is_meta, f"{name} is on meta, {case}", usually)
