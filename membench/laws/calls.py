"""Laws about calls: what they leave alone, and that the same one gives the same."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from membench.laws.subject import (
    ROWS,
    Build,
    Subject,
    copied,
    examine,
    leaves,
    name_mode,
    require,
    require_same,
    require_same_state,
    run,
)
from membench.memory import Memory, State, Trace


def purity(build: Build) -> None:
    """`forward` mutates nothing; `step` nothing but a cache in its state, and that to no lasting effect."""
    subject = examine(build)
    for recording in (False, True):
        for age in (0, 3):
            with torch.set_grad_enabled(recording):
                case = f"after {age} steps, {name_mode(recording)}"
                _forward_is_pure(subject, _batch(subject, age), case)
                _step_is_pure(subject, _batch(subject, age), case)
                _outputs_stay(subject, _batch(subject, age), case)


def _batch(subject: Subject, age: int) -> State:
    """Return the state of a batch that has `age` steps behind it."""
    state = subject.memory.initial_state(ROWS)
    return subject.memory(subject.inputs(ROWS, age, seed=3), state)[1] if age else state


class _Snapshot:
    """The values of everything that a call is given and of the memory itself; says what has changed since."""

    def __init__(self, memory: Memory, x: Tensor, state: State):
        self.given = {"the input x": x, **leaves(state)}
        own = {**dict(memory.named_parameters()), **dict(memory.named_buffers())}
        self.own = {f"the parameter or buffer {name!r}": tensor for name, tensor in own.items()}
        self.state = state
        watched = self.given | self.own | self._first_state(memory)
        self.values = {name: tensor.detach().clone() for name, tensor in watched.items()}

    @staticmethod
    def _first_state(memory: Memory) -> dict[str, Tensor]:
        return leaves(memory.initial_state(ROWS), "what initial_state returns: state")

    def changed(self, memory: Memory) -> list[str]:
        """Return the names of what has other values, or another place in the state, than before."""
        now = self.given | self.own | self._first_state(memory)
        changed = [name for name, tensor in now.items() if not _identical(tensor, self.values[name])]
        in_place = leaves(self.state)
        moved = in_place.keys() ^ (self.given.keys() - {"the input x"})
        moved |= {
            name for name in in_place.keys() & self.given.keys() if in_place[name] is not self.given[name]
        }
        return changed + [f"the entry {name} of the dict that was given" for name in sorted(moved)]


def _identical(got: Tensor, expected: Tensor) -> bool:
    """Whether all values are the same; NaN counts as the same as NaN."""
    got = got.detach()
    same = (got == expected) | (got.isnan() & expected.isnan())
    return got.shape == expected.shape and bool(same.all())


def _forward_is_pure(subject: Subject, state: State, case: str) -> None:
    memory, x = subject.memory, subject.inputs(ROWS, 5)
    snapshot = _Snapshot(memory, x, state)
    _, after = memory(x, state)
    usually = "an operation in place (+=, copy_, index assignment) on the state, where a copy was meant"
    require(
        not (changed := snapshot.changed(memory)), f"forward changes {', '.join(changed)}, {case}", usually
    )
    memory.step(x[:, 0], after)
    usually = "`forward` returns part of the state it was given, and `step` then writes into it"
    require(
        not (changed := snapshot.changed(memory)),
        f"forward, then step, change {', '.join(changed)}, {case}",
        usually,
    )


def _step_is_pure(subject: Subject, state: State, case: str) -> None:
    memory, x = subject.memory, subject.inputs(ROWS, 2, seed=4)
    before, hidden = copied(state), state["hidden"].detach().clone()
    snapshot = _Snapshot(memory, x, state)
    memory.step(x[:, 1], state)
    cache = {name for name in leaves(state) if name != "state['hidden']"}
    changed = [name for name in snapshot.changed(memory) if name not in cache]
    usually = "`step` works in place; only a cache inside the state may be written to, and never `hidden`"
    require(not changed, f"step changes {', '.join(changed)}, {case}", usually)
    require(_identical(state["hidden"], hidden), f"step changes state['hidden'], {case}", usually)
    usually = (
        "`step` changed something in its state that a second step from there does not overwrite; what "
        "follows the last step of a truncated episode is valued by such a step"
    )
    case = f"step from a state from which another step was taken before, against a first step, {case}"
    got, expected = memory.step(x[:, 0], state), memory.step(x[:, 0], before)
    require_same(got[0], expected[0], subject.tolerance, case, usually)
    require_same_state(got[1], expected[1], subject.tolerance, case, usually)


def _outputs_stay(subject: Subject, state: State, case: str) -> None:
    """What steps returned as output and `hidden` keeps its values while the episode goes on."""
    kept, copies = [], []
    for x in subject.inputs(ROWS, 5, seed=4).unbind(1):
        y, state = subject.memory.step(x, state)
        kept.append((y, state["hidden"]))
        copies.append((y.detach().clone(), state["hidden"].detach().clone()))
    usually = "a step writes into a buffer that an earlier step handed out"
    for index, (tensors, values) in enumerate(zip(kept, copies, strict=True)):
        for what, tensor, value in zip(("output", "state['hidden']"), tensors, values, strict=True):
            holds = _identical(tensor, value)
            require(holds, f"the {what} of step {index} is changed by later steps, {case}", usually)


def determinism(build: Build) -> None:
    """The same call gives the same result: again, in eval mode, with a trace, without gradients."""
    subject = examine(build)
    memory = subject.memory
    usually = "dropout or other randomness in the computation, or a state kept in `self`"
    for num_rows in (1, ROWS):
        first, second = memory.initial_state(num_rows), memory.initial_state(num_rows)
        require_same_state(second, first, 0.0, "initial_state, called twice", usually)
    x, state = subject.inputs(ROWS, 9), _batch(subject, 3)

    def forward() -> tuple[Tensor, State]:
        return memory(x, copied(state))

    def step() -> tuple[Tensor, State]:
        return run(memory, x, copied(state), [-9])

    def traced() -> tuple[Tensor, State]:
        return memory(x, copied(state), trace=Trace())

    for call in (forward, step):
        generator = torch.random.get_rng_state()
        expected = call()
        drew = not torch.equal(generator, torch.random.get_rng_state())
        again: dict[str, Call] = {
            "called again": call,
            "called again after a call with other rows": lambda call=call: _after_others(subject, call),
            "called in eval mode": lambda call=call: _in_eval_mode(memory, call),
            "called without recording gradients": torch.no_grad()(call),
        }
        again |= {"called with a trace": traced} if call is forward else {}
        for how, call_again in again.items():
            y, after = call_again()
            require_same(y, expected[0], subject.tolerance, f"{call.__name__}, {how}", usually)
            require_same_state(after, expected[1], subject.tolerance, f"{call.__name__}, {how}", usually)
        require(not drew, f"{call.__name__} draws from PyTorch's random numbers", usually)


Call: TypeAlias = Callable[[], tuple[Tensor, State]]


def _after_others(subject: Subject, call: Call) -> tuple[Tensor, State]:
    memory = subject.memory
    memory(subject.inputs(2, 6, seed=5), memory.initial_state(2))
    memory.step(subject.inputs(3, 1, seed=5)[:, 0], memory.initial_state(3))
    return call()


def _in_eval_mode(memory: Memory, call: Call) -> tuple[Tensor, State]:
    memory.eval()
    try:
        return call()
    finally:
        memory.train()
