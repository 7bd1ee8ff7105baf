"""The contract that every memory obeys: `Memory`, its `State`, and `Trace`.

Axes are named once, here, and used everywhere: b row (one episode each), t step, i input feature,
o output feature. Order is always batch, time, feature.

`membench check my_package.my_module:MyMemory` runs the laws that follow from this page (`membench.check`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeAlias

import torch
from msgspec import Meta
from torch import Tensor, nn

PositiveInt: TypeAlias = Annotated[int, Meta(ge=1)]
"""The type of an option that is a size or a number of parts: where it stands, less than 1 is refused."""

State: TypeAlias = dict[str, Any]
"""What a memory carries from one step to the next: a dict of tensors, nested where that helps.

Batch comes first in every leaf, so `select` and `detach` below serve every memory. Shapes do not change
over time. The key `hidden` [b h] is always there: the memory's last feature vector, zeros before the
first step; it is what a plot of "the hidden state" shows.
"""


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """Return the state whose leaves are `function` of the corresponding leaves of `states`."""
    first, *others = states
    return {
        key: map_state(function, value, *(other[key] for other in others))
        if isinstance(value, dict)
        else function(value, *(other[key] for other in others))
        for key, value in first.items()
    }


def select(state: State, rows: Any) -> State:
    """Return the state of the rows that `rows` (an index, slice, index or boolean tensor) picks."""
    return map_state(lambda leaf: leaf[rows], state)


def detach(state: State) -> State:
    """Return the state cut from the graph that computed it."""
    return map_state(Tensor.detach, state)


class Trace(dict[str, list[Tensor]]):
    """A notebook that `forward` writes internals into while somebody is looking.

    Names in use: `attention.read` and `attention.write` [b t head slot], `memory` [b t slot feature],
    `hidden` [b t h]. Each call of `forward` appends one tensor per name, or one per layer or part of the
    memory that has something under that name, from the input to the output.
    """

    def record(self, name: str, value: Tensor) -> None:
        """Append `value` to what was recorded under `name`."""
        self.setdefault(name, []).append(value.detach())


class Memory(nn.Module, ABC):
    """A causal map from one episode's inputs to outputs that carries a state.

    Built as `Class(input_size=..., **options)`; options are keyword-only, typed and have defaults. A
    memory has no reset code: the harness owns episode boundaries, and a row never crosses one. A class
    with a cache takes the option `context_length`, the number of steps that its cache holds, and keeps it as
    an attribute of that name; the harness sets both from the longest task that the weights meet, and may
    raise the attribute on trained weights. It is never the size of a parameter.
    """

    remembers: ClassVar[bool] = True
    """Whether an output can depend on earlier inputs. False only for a memoryless baseline."""

    initialisations: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    """Options among which `membench tune` may choose: alternatives of the memory's own initialisation."""

    settings: ClassVar[dict[str, Any]] = {}
    """Settings that its runs start from, as fields of `RunConfig`, where it makes sense with these alone."""

    check_options: ClassVar[dict[str, Any]] = {}
    """Options of its own that make it small enough for `membench check`."""

    input_size: int
    output_size: int
    _place: Tensor

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.input_size = input_size
        self.output_size = output_size
        # Moves with the memory, so that one without parameters knows its place, too.
        self.register_buffer("_place", torch.empty(0), persistent=False)

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step of `batch_size` episodes, on the parameters' device."""

    @abstractmethod
    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Map inputs x [b t i] and the state before them to outputs [b t o] and the state after the last.

        This is the one definition of what the memory computes. It mutates nothing that it is given.
        """
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map one input x [b i] to one output [b o] and the next state: `forward` with t = 1.

        Override it where acting can be faster. It may reuse the storage of a cache in `state`, never that
        of `hidden`; whoever calls it does not read the old state again.
        """
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state

    @property
    def kernels(self) -> set[str]:
        """What its calls have been computed with so far: other libraries' names where it may choose them."""
        return {"pytorch"}

    def zeros(self, *shape: int) -> Tensor:
        """Return zeros of this shape on the device and in the type of the parameters, if there are any.

        A memory without parameters has those that it was built with, or moved to by `.to()`.
        """
        like = next(self.parameters(), self._place)
        return torch.zeros(shape, device=like.device, dtype=like.dtype)
