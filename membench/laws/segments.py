"""Laws about episodes in parts: whichever way one is cut into calls, it comes to the same."""

from collections.abc import Sequence

import torch
from torch import Tensor

from membench.laws.comparing import LawBroken, copied, leaves, require_same, require_same_state
from membench.laws.subject import ROWS, STEPS, Build, Subject, examine, name_calls, name_mode, run
from membench.memory import State

LENGTHS = (3, 4, 6, 7, 8, 9, 15, 16, 17, 24, 32, STEPS)
"""Steps of calls that start an episode, for a fault at one length: short ones, and the edges of blocks."""

MANY_STEPS = 264
"""Steps of a long episode. It is more than a byte can count, even before its last call."""

EARLY = 35
"""Steps of a long episode's first call."""

GROWTH = 1e6
"""Factor by which no value of the state may grow from the first call of a long episode to its end. Sums of
sums of sums grow by less than 1,000; what multiplies by 1.063 at every step, and overflows after 1,400 of
them, by more."""

USUALLY = (
    "the state does not carry all that the next call needs, `forward` ignores or resets part of the state it "
    "is given, or `step` computes something else than `forward`"
)


def segmentation(build: Build) -> None:
    """Any split into calls, by `forward` and by `step`, gives the same outputs and the same final state."""
    subject = examine(build)
    for num_steps in (2, 5, STEPS):
        x = subject.inputs(ROWS, num_steps)
        with torch.no_grad():
            expected = run(subject.memory, x, subject.memory.initial_state(ROWS), [num_steps])
        for recording in (False, True):
            with torch.set_grad_enabled(recording):
                for calls in _splits(num_steps, recording=recording):
                    _split_agrees(subject, x, calls, expected, name_mode(recording))
    _every_length_agrees(subject)


def _splits(num_steps: int, *, recording: bool) -> list[list[int]]:
    """Return splits of `num_steps` into calls, as `run` takes them."""
    if num_steps < STEPS:
        uneven = [[1, num_steps - 1], [num_steps - 1, 1]]
        return [*uneven, [num_steps], [-num_steps], [1] * num_steps, [1, 1 - num_steps]]
    if recording:
        return [[5, -30, 37]]
    return [[1, num_steps - 2, 1], [33, 31, 8], [-3, 65, -4], [64, 8]]


def _split_agrees(
    subject: Subject, x: Tensor, calls: Sequence[int], expected: tuple[Tensor, State], mode: str
) -> None:
    got = run(subject.memory, x, subject.memory.initial_state(ROWS), calls)
    case = f"{name_calls(calls)}, {mode}, against one forward over {x.shape[1]}"
    require_same(got[0], expected[0], subject.tolerance, case, USUALLY)
    require_same_state(got[1], expected[1], subject.tolerance, case, USUALLY)


@torch.no_grad()
def _every_length_agrees(subject: Subject) -> None:
    """One call gives what steps give, whatever its length."""
    memory, x = subject.memory, subject.inputs(ROWS, STEPS)
    state, outputs = memory.initial_state(ROWS), []
    for num_steps in range(1, max(LENGTHS) + 1):
        y, state = memory.step(x[:, num_steps - 1], state)
        outputs.append(y)
        if num_steps in LENGTHS:
            got = run(memory, x[:, :num_steps], memory.initial_state(ROWS), [num_steps])
            case = f"forward over {num_steps}, against {num_steps} times step"
            require_same(got[0], torch.stack(outputs, 1), subject.tolerance, case, USUALLY)
            require_same_state(got[1], state, subject.tolerance, case, USUALLY)


@torch.no_grad()
def long_episodes(build: Build) -> None:
    """Outputs do not depend on the context length, and stay right over more steps than were planned for.

    Nor does the state grow exponentially with the number of steps.
    """
    subject = examine(build)
    memory, x = subject.memory, subject.inputs(ROWS, MANY_STEPS)
    if getattr(memory, "context_length", None) is not None:
        _context_may_be_raised(subject, x[:, :STEPS])
    expected = run(memory, x, memory.initial_state(ROWS), [MANY_STEPS])
    calls = [EARLY, -224, MANY_STEPS - EARLY - 224]
    y, state = run(memory, x[:, :EARLY], memory.initial_state(ROWS), calls[:1])
    early = copied(state)
    y_late, state = run(memory, x[:, EARLY:], state, calls[1:])
    _does_not_explode(early, state)
    case = f"{name_calls(calls)}, against one forward over {MANY_STEPS}"
    usually = "a counter that wraps or stops, a table or a cache with a fixed number of places"
    require_same(torch.cat([y, y_late], 1), expected[0], subject.tolerance, case, usually)
    require_same_state(state, expected[1], subject.tolerance, case, usually)


def _does_not_explode(early: State, late: State) -> None:
    """Raise `LawBroken` if a value is `GROWTH` times as large late in an episode as early, or not finite."""
    later = leaves(late)
    for name, leaf in leaves(early).items():
        if leaf.is_floating_point() or leaf.is_complex():
            growth = later[name].abs() / leaf.abs().clamp(min=1)
            # An infinity that was there early, say the maximum over nothing, may stay.
            too_large = growth[~((growth <= GROWTH) | (later[name] == leaf))]
            if too_large.numel():
                raise LawBroken(
                    f"{name} grows by a factor of {float(too_large.max()):.2g} from step {EARLY} to step "
                    f"{MANY_STEPS}",
                    "a recurrence that multiplies by more than 1 at every step; longer episodes overflow",
                )


def _context_may_be_raised(subject: Subject, x: Tensor) -> None:
    """Raise the memory's context length, which changes nothing in what it computed before."""
    memory = subject.memory
    before, _ = run(memory, x, memory.initial_state(ROWS), [STEPS])
    setattr(memory, "context_length", MANY_STEPS)  # noqa: B010, for the type of a Module
    usually = (
        "a table or a mask of the context length at building, or outputs that depend on it; it may be raised "
        "on trained weights, as the attribute `context_length`"
    )
    case = f"the first {STEPS} steps with a context_length of {MANY_STEPS}, against one of {STEPS}"
    after, _ = run(memory, x, memory.initial_state(ROWS), [STEPS])
    require_same(after, before, subject.tolerance, case, usually)
