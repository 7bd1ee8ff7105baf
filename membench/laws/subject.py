"""What laws are written with: a memory under examination, inputs for it, and ways to run it.

Axes: b row, t step, i input feature, o output feature.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from membench.laws.comparing import trying
from membench.laws.watching import RoundingWatch
from membench.memory import Memory, State

Build: TypeAlias = Callable[[], Memory]
"""Returns a fresh, randomly initialised memory at every call."""

STEPS = 72
"""Steps of the longest case. It crosses the edges of blocks of 16, 32 and 64 steps; a memory with a cache is
examined with one of exactly this `context_length`, so that the last place in it is used too."""

ROWS = 4
"""Rows of most cases: one per kind of input, see `Subject.inputs`."""

SILENT_AFTER_A_CUE = 1
"""The row of silence after its first step."""


@dataclass(frozen=True)
class Subject:
    """A memory under examination: float64 where it can compute in it, float32 otherwise."""

    memory: Memory
    dtype: torch.dtype

    @property
    def tolerance(self) -> float:
        """Largest difference that counts as equal, relative to the larger of 1 and the largest value."""
        return 1e-9 if self.dtype == torch.float64 else 1e-5

    def inputs(self, num_rows: int, num_steps: int, seed: int = 0) -> Tensor:
        """Return inputs [b t i] of four kinds, row by row: random, a cue and then silence, silence, large."""
        random = torch.Generator().manual_seed(seed)
        shape = (num_rows, num_steps, self.memory.input_size)
        x = torch.randn(shape, generator=random, dtype=torch.float64)
        x[SILENT_AFTER_A_CUE::4, 1:] = 0.0
        x[2::4] = 0.0
        x[3::4] *= 5.0
        return x.to(self.dtype)

    def aged(self, num_steps: int) -> State:
        """Return the state of `ROWS` rows that have `num_steps` steps behind them."""
        state = self.memory.initial_state(ROWS)
        if num_steps:
            _, state = run(self.memory, self.inputs(ROWS, num_steps, seed=3), state, [num_steps])
        return state

    def computes_in_its_dtype(self) -> bool:
        """Whether nothing in the memory raises an error or rounds to fewer bits than `dtype` has."""
        try:
            with torch.no_grad(), RoundingWatch(self.dtype) as watch:
                _, state = self.memory(self.inputs(2, 3), self.memory.initial_state(2))
                self.memory.step(self.inputs(2, 1)[:, 0], state)
        except Exception:
            return False
        return not watch.has_rounded


def examine(build: Build, seed: int = 0) -> Subject:
    """Build a memory, with its parameters a little perturbed, in the widest type that it computes in.

    Perturbed, because a part that is initialised to zero would hide its faults.
    """
    widest = Subject(_perturbed(build, seed).to(torch.float64), torch.float64)
    if widest.computes_in_its_dtype():
        return widest
    return Subject(_perturbed(build, seed), torch.float32)


def _perturbed(build: Build, seed: int) -> Memory:
    with seeded(seed), torch.no_grad():
        memory = build()
        for parameter in memory.parameters():
            # In proportion, so that a recurrence that was stable stays so; the floor moves zeros.
            scale = max(0.1 * float(parameter.square().mean().sqrt()), 0.01)
            parameter.add_(scale * torch.randn_like(parameter))
    return memory


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's random numbers for a while, and leave them afterwards as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def run(memory: Memory, x: Tensor, state: State, calls: Sequence[int]) -> tuple[Tensor, State]:
    """Run x [b t i] through successive calls: n stands for `forward` over n steps, -n for n times `step`."""
    # x itself where it is one piece: what is remembered of a tensor must show.
    pieces = x.split([abs(call) for call in calls], dim=1) if len(calls) > 1 else [x]
    outputs = []
    with trying(f"{name_calls(calls)}, {len(x)} rows, {name_mode(torch.is_grad_enabled())}"):
        for call, piece in zip(calls, pieces, strict=True):
            if call > 0:
                y, state = memory(piece, state)
                outputs.append(y)
                continue
            for x_t in piece.unbind(1):
                y, state = memory.step(x_t, state)
                outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, dim=1), state


def weighted_sum(y: Tensor) -> Tensor:
    """Return the sum of y with random weights, the same at every call; what gradients are taken of."""
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return (y * weights.to(y.dtype)).sum()


def name_calls(calls: Sequence[int]) -> str:
    """Return a text for people: `forward over 3, then 2 times step`."""
    return ", then ".join(f"forward over {call}" if call > 0 else f"{-call} times step" for call in calls)


def name_mode(recording: bool) -> str:
    """Return a text for people."""
    return "gradients recorded" if recording else "gradients not recorded"
