"""The law that the same call gives the same, in whatever circumstances it is made."""

from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from membench.laws.comparing import copied, joined, require, require_same, require_same_state
from membench.laws.subject import ROWS, Build, Subject, examine, name_calls, run
from membench.memory import State, Trace, select

Result: TypeAlias = tuple[Tensor, State]


def determinism(build: Build) -> None:
    """The same call gives the same: again, in eval mode, with a trace, without gradients, in any layout."""
    subject = examine(build)
    for num_rows in (1, ROWS):
        _initial_state_is_one(subject, num_rows)
    for age, calls in ((0, [1]), (3, [1]), (0, [-4]), (3, [6])):
        case = _Case(subject, age, calls)
        case.layouts_do_not_matter(case.is_the_same())
    _Case(subject, 0, [33]).is_the_same(IN_LONG_CALLS)


@contextmanager
def eval_mode(subject: Subject) -> Iterator[None]:
    """Put the memory into eval mode for a while."""
    modes = {module: module.training for module in subject.memory.modules()}
    subject.memory.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _acting(subject: Subject) -> Iterator[None]:
    with eval_mode(subject), torch.no_grad():
        yield


@contextmanager
def _after_others(subject: Subject) -> Iterator[None]:
    memory = subject.memory
    for num_rows, num_steps in ((2, 1), (ROWS, 6)):
        _, state = memory(subject.inputs(num_rows, num_steps, seed=5), memory.initial_state(num_rows))
        memory.step(subject.inputs(num_rows, 1, seed=6)[:, 0], state)
    yield


ACTING = "in eval mode without recording gradients"

CIRCUMSTANCES: dict[str, Callable[[Subject], AbstractContextManager]] = {
    "again": lambda _: nullcontext(),
    "again, after calls with other rows": _after_others,
    "in eval mode": eval_mode,
    "without recording gradients": lambda _: torch.no_grad(),
    ACTING: _acting,
    "in inference mode": lambda _: torch.inference_mode(),
}

REQUIRING, TRACED = "with an x that requires a gradient", "with a trace"

IN_LONG_CALLS = ("again", "in eval mode", ACTING, "in inference mode", REQUIRING, TRACED)
"""How long calls are made again; the rest is combinations of these, and tried with short ones."""


def _initial_state_is_one(subject: Subject, num_rows: int) -> None:
    """Every episode starts from the same state."""
    first = copied(subject.memory.initial_state(num_rows))
    usually = "random numbers, or what an earlier call left in `self`"
    for how, circumstance in CIRCUMSTANCES.items():
        with circumstance(subject):
            state = subject.memory.initial_state(num_rows)
        require_same_state(state, first, 0.0, f"initial_state({num_rows}), called {how}", usually)


class _Case:
    """Calls from a state of some age, which must give the same in all circumstances."""

    def __init__(self, subject: Subject, age: int, calls: list[int]):
        self.subject, self.memory, self.calls = subject, subject.memory, calls
        self.x, self.state = subject.inputs(ROWS, abs(calls[0])), copied(subject.aged(age))
        self.name = f"{name_calls(calls)}, after {age} steps"

    def is_the_same(self, ways: Container[str] | None = None) -> Result:
        """Return the result of a first run; `LawBroken` unless all others, or those in `ways`, agree."""
        generator = torch.get_rng_state()
        expected = self._run()
        drew = not torch.equal(generator, torch.get_rng_state())
        usually = "dropout or other randomness in the computation, or a state kept in `self`"
        for how, call in self._ways().items():
            if ways is None or how in ways:
                self._require_same(call(), expected, f"called {how}", usually)
        require(not drew, f"{self.name}, draws from PyTorch's random numbers", usually)
        return expected

    def _run(self, x: Tensor | None = None) -> Result:
        """Make the calls from a copy of the state, as `step` may write into it."""
        return run(self.memory, self.x if x is None else x, copied(self.state), self.calls)

    def _require_same(self, got: Result, expected: Result, how: str, usually: str) -> None:
        case = f"{self.name}, {how}"
        require_same(got[0], expected[0], self.subject.tolerance, case, usually)
        require_same_state(got[1], expected[1], self.subject.tolerance, case, usually)

    def _ways(self) -> dict[str, Callable[[], Result]]:
        """Return calls that must all give the same, by how they are made."""
        ways: dict[str, Callable[[], Result]] = {how: partial(self._run_in, how) for how in CIRCUMSTANCES}
        ways[REQUIRING] = lambda: self._run(self.x.clone().requires_grad_())
        ways["with an x that held other values in the call before"] = self._in_place_of_another
        if self.calls[0] > 0:
            ways[TRACED] = lambda: self.memory(self.x, copied(self.state), trace=Trace())
        return ways

    def _run_in(self, circumstance: str) -> Result:
        with CIRCUMSTANCES[circumstance](self.subject):
            return self._run()

    def _in_place_of_another(self) -> Result:
        x = self.subject.inputs(*self.x.shape[:2], seed=1)
        self._run(x)
        return self._run(x.copy_(self.x))

    def layouts_do_not_matter(self, expected: Result) -> None:
        """Raise `LawBroken` unless the same values in other places give what was expected."""
        usually = "a kernel or a reshape that takes every tensor for a contiguous one"
        time_first = self.x.transpose(0, 1).contiguous().transpose(0, 1)
        self._require_same(self._run(time_first), expected, "with an x that lies time first", usually)
        within_more = torch.cat([self.x + 1, self.x], dim=-1)[..., self.x.shape[-1] :]
        self._require_same(
            self._run(within_more), expected, "with an x that is part of a larger one", usually
        )
        how = "with a state that is every other row of a larger one"
        self._require_same(self._from_every_other_row(), expected, how, usually)
        for what, one in {"row": self.x[:1], "step": self.x[:, :1]}.items():
            x = one.expand_as(self.x)
            how = f"with an x made of one {what} by expand, against a copy of it"
            self._require_same(self._run(x), self._run(x.contiguous()), how, usually)

    def _from_every_other_row(self) -> Result:
        both = joined(self.memory.initial_state(ROWS), self.state)
        in_turn = torch.arange(2 * ROWS).reshape(2, ROWS).T.flatten()
        return run(self.memory, self.x, select(select(both, in_turn), slice(1, None, 2)), self.calls)
