"""The law about what calls leave alone: what they are given, what they gave before, and all the rest."""

import torch
from torch import Tensor

from membench.laws.comparing import (
    copied,
    identical,
    leaves,
    require,
    require_same,
    require_same_state,
)
from membench.laws.leftovers import nothing_piles_up, process_is_left_alone
from membench.laws.subject import ROWS, Build, Subject, examine, name_calls, name_mode, run
from membench.memory import State


def purity(build: Build) -> None:
    """`forward` mutates nothing; `step` nothing but a cache in its state, and that to no lasting effect."""
    process_is_left_alone(build)
    subject = examine(build)
    for recording in (False, True):
        with torch.set_grad_enabled(recording):
            for age in (0, 3):
                case = f"after {age} steps, {name_mode(recording)}"
                for num_steps in (1, 5):
                    _forward_is_pure(subject, subject.aged(age), num_steps, f"over {num_steps}, {case}")
                _step_is_pure(subject, subject.aged(age), case)
            for calls in ([-1] * 5, [2] * 3):
                _results_stay(subject, calls, name_mode(recording))
    with torch.no_grad():
        for calls in ([1], [5], [-1]):
            _input_is_let_go(subject, calls)
        _episodes_do_not_meet(subject)
    nothing_piles_up(subject)


class _Snapshot:
    """The values of everything that a call is given and of the memory itself; says what has changed since."""

    def __init__(self, subject: Subject, x: Tensor, state: State):
        self.memory = subject.memory
        self.given = {"the input x": x, **leaves(state)}
        own = {**dict(self.memory.named_parameters()), **dict(self.memory.named_buffers())}
        self.own = {f"the parameter or buffer {name!r}": tensor for name, tensor in own.items()}
        self.state = state
        watched = self._watched()
        self.values = {name: tensor.detach().clone() for name, tensor in watched.items()}
        self.marks = {name: _mark(tensor) for name, tensor in self.given.items()}

    def _watched(self) -> dict[str, Tensor]:
        first = leaves(self.memory.initial_state(ROWS), "what initial_state returns: state")
        return self.given | self.own | first

    def changed(self, *, may_write: frozenset[str] = frozenset()) -> list[str]:
        """Return the names of what has other values, or another place in the state, than before.

        What is named in `may_write` may have other values.
        """
        changed = [name for name, tensor in self._watched().items() if not self._holds(name, tensor)]
        in_place = leaves(self.state)
        moved = in_place.keys() ^ (self.given.keys() - {"the input x"})
        moved |= {
            name for name in in_place.keys() & self.given.keys() if in_place[name] is not self.given[name]
        }
        changed = [name for name in changed if name not in may_write]
        return changed + [f"the entry {name} of the dict that was given" for name in sorted(moved)]

    def _holds(self, name: str, tensor: Tensor) -> bool:
        is_untouched = name not in self.given or _mark(tensor) == self.marks[name]
        return is_untouched and identical(tensor, self.values[name])


def _mark(tensor: Tensor) -> tuple[int, bool]:
    """Return what tells of a change that was undone, too, for that upsets a backward pass all the same."""
    return tensor._version, tensor.requires_grad


def _forward_is_pure(subject: Subject, state: State, num_steps: int, case: str) -> None:
    memory, x = subject.memory, subject.inputs(ROWS, num_steps)
    snapshot = _Snapshot(subject, x, state)
    _, after = memory(x, state)
    usually = "an operation in place (+=, copy_, index assignment) where a copy was meant"
    require(not (changed := snapshot.changed()), f"forward {case}, changes {', '.join(changed)}", usually)
    memory.step(subject.inputs(ROWS, 1)[:, 0], after)
    usually = "`forward` returns part of the state it was given, and `step` then writes into it"
    case = f"forward {case}, then step, change"
    require(not (changed := snapshot.changed()), f"{case} {', '.join(changed)}", usually)


def _step_is_pure(subject: Subject, state: State, case: str) -> None:
    memory, x = subject.memory, subject.inputs(ROWS, 2, seed=4)
    before = copied(state)
    snapshot = _Snapshot(subject, x, state)
    memory.step(x[:, 1], state)
    cache = frozenset(leaves(state)) - {"state['hidden']"}
    usually = "`step` works in place; only a cache inside the state may be written to, and never `hidden`"
    changed = snapshot.changed(may_write=cache)
    require(not changed, f"step changes {', '.join(changed)}, {case}", usually)
    usually = (
        "a state kept in `self`, or something in its state that `step` changed and a second step from there "
        "does not overwrite; what follows the last step of a truncated episode is valued by such a step"
    )
    case = f"step from a state from which another step was taken before, against a first step, {case}"
    got, expected = memory.step(x[:, 0], state), memory.step(x[:, 0], before)
    require_same(got[0], expected[0], subject.tolerance, case, usually)
    require_same_state(got[1], expected[1], subject.tolerance, case, usually)


def _results_stay(subject: Subject, calls: list[int], mode: str) -> None:
    """What calls returned as output and `hidden` keeps its values while the episode goes on."""
    state = subject.memory.initial_state(ROWS)
    kept, copies = [], []
    for seed, call in enumerate(calls):
        x = subject.inputs(ROWS, abs(call), seed)
        y, state = subject.memory(x, state) if call > 0 else subject.memory.step(x[:, 0], state)
        kept.append((y, state["hidden"]))
        copies.append((y.detach().clone(), state["hidden"].detach().clone()))
    usually = "a call writes into a buffer that an earlier call handed out"
    for index, (tensors, values) in enumerate(zip(kept, copies, strict=True)):
        for what, tensor, value in zip(("output", "state['hidden']"), tensors, values, strict=True):
            case = f"the {what} of call {index} is changed by later calls: {name_calls(calls)}, {mode}"
            require(identical(tensor, value), case, usually)


def _input_is_let_go(subject: Subject, calls: list[int]) -> None:
    """The state keeps its values when the caller writes other inputs into the same tensor."""
    x = subject.inputs(ROWS, abs(calls[0]))
    _, state = run(subject.memory, x, subject.memory.initial_state(ROWS), calls)
    before = copied(state)
    x.copy_(subject.inputs(ROWS, abs(calls[0]), seed=1) + 1)
    usually = "the state holds a view of the input; environments write observations into the same array"
    case = f"the state after {name_calls(calls)}, when the caller overwrites x, against before"
    require_same_state(state, before, 0.0, case, usually)


def _episodes_do_not_meet(subject: Subject) -> None:
    """An episode goes on as if nothing had happened while another one was begun."""
    memory, x, other = subject.memory, subject.inputs(ROWS, 6), subject.inputs(ROWS, 6, seed=1)
    y, state = run(memory, x, memory.initial_state(ROWS), [-6])
    expected = y, copied(state)
    first, state = run(memory, x[:, :3], memory.initial_state(ROWS), [-3])
    run(memory, other, memory.initial_state(ROWS), [2, -4])
    second, state = run(memory, x[:, 3:], state, [-3])
    case = "6 times step, with another episode of as many rows in between, against without"
    usually = "a cache or state that is kept in the memory and handed out again by `initial_state`"
    require_same(torch.cat([first, second], 1), expected[0], subject.tolerance, case, usually)
    require_same_state(state, expected[1], subject.tolerance, case, usually)
