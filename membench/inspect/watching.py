"""Watching an agent live through episodes: its state, trace and outputs after each of some steps."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from membench.agent import Agent
from membench.memory import State, Trace

MOST_BYTES = 2**27
"""Of all episodes' states together; fewer episodes are watched where states are large."""


class Moment(NamedTuple):
    """What there is to see after one step of a batch of episodes."""

    step: int
    before: State
    """The state before the step."""
    state: State
    """The state after it."""
    trace: Trace
    """Of the step alone: t is 1."""
    outputs: Tensor
    """[b a], the policy head's."""
    values: Tensor
    """[b]."""


Change = Callable[[int, State], State]
"""What is done to the state after a step: an intervention, or a fault that a test plants."""


@torch.no_grad()
def watch(
    agent: Agent, observations: Tensor, steps: Iterable[int], change: Change | None = None
) -> Iterator[Moment]:
    """Yield the moments after `steps`, in order, of episodes [b t i] from the initial state.

    In between the memory runs over whole segments, unless there is a `change` to be made after every step.
    """
    state, next_step = agent.initial_state(len(observations)), 0
    scaled, wanted = observations * agent.observation_scale, sorted(set(steps))
    for step in wanted:
        num_steps = 1 if change else max(step - next_step, 1)
        for start in range(next_step, step, num_steps):
            _, state = agent.memory(scaled[:, start : start + num_steps], state)
            state = change(start, state) if change else state
        before, trace = state, Trace()
        latent, state = agent.memory(scaled[:, step : step + 1], before, trace=trace)
        state = change(step, state) if change else state
        outputs, values = agent.heads(latent[:, 0])
        yield Moment(step, before, state, trace, outputs, values)
        next_step = step + 1


Path = tuple[str, ...]


def leaves(state: State, path: Path = ()) -> dict[Path, Tensor]:
    """Return the tensors of a nested state by the names on the way to them."""
    found: dict[Path, Tensor] = {}
    for name, value in state.items():
        found |= leaves(value, (*path, name)) if isinstance(value, dict) else {(*path, name): value}
    return found


def part_of(path: Path) -> str:
    """Return which part of the state a tensor belongs to, over all layers: stacks of cells are one part."""
    if path[0] == "lower":
        return "hidden"
    return path[-1] if path[0] in ("layers", "cache") else path[0]


def parts(state: State) -> dict[str, list[Path]]:
    """Return the parts of a state, each with the places of its tensors; empty ones are left out."""
    found: dict[str, list[Path]] = {}
    for path, leaf in leaves(state).items():
        if leaf[0].numel():
            found.setdefault(part_of(path), []).append(path)
    return found


def slot_leaves(moment: Moment) -> list[Path]:
    """Return where in the state the slots lie that the trace shows; empty for a memory without slots."""
    shown = [slots[:, -1] for slots in moment.trace.get("memory", [])]
    return [
        path
        for path, leaf in leaves(moment.state).items()
        if any(
            leaf.shape == slots.shape and torch.allclose(leaf, slots, rtol=1e-3, atol=1e-4) for slots in shown
        )
    ]


def features(state: State, paths: Iterable[Path]) -> Tensor:
    """Return the numbers [b f] of some tensors of a state, side by side."""
    found = leaves(state)
    numbers = [found[path].reshape(len(found[path]), -1).float() for path in paths]
    return numbers[0] if len(numbers) == 1 else torch.cat(numbers, dim=1)


def replaced(state: State, changes: dict[Path, Tensor], path: Path = ()) -> State:
    """Return a state with some of its tensors replaced."""
    return {
        name: replaced(value, changes, (*path, name))
        if isinstance(value, dict)
        else changes.get((*path, name), value)
        for name, value in state.items()
    }


def num_episodes_for(agent: Agent, most: int, least: int = 128) -> int:
    """Return how many episodes to watch, so that their states do not outgrow `MOST_BYTES`."""
    size = sum(leaf.numel() * leaf.element_size() for leaf in leaves(agent.memory.initial_state(1)).values())
    return max(least, min(most, MOST_BYTES // max(size, 1)))
