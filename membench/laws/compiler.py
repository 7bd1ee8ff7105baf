"""PyTorch's compiler, kept from being loaded where it has nothing to do."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


class _StandIn(ModuleType):
    """Stands in for the compiler; whoever wants more of it than `disable` gets the real one."""

    @staticmethod
    def disable(fn: Callable, *_: Any, **__: Any) -> Callable:
        """Return `fn`: where there is no compiler, nothing need be hidden from it."""
        return fn

    def __getattr__(self, name: str) -> Any:
        self.leave()
        return getattr(import_module(COMPILER), name)

    def leave(self) -> None:
        """Make way for the real one."""
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let kernels of the meta device run without the compiler, unless it is loaded already.

    Many are Python functions, and to hide them from its compiler PyTorch would load it, which takes seconds.
    """
    stand_in = _StandIn(COMPILER)
    sys.modules.setdefault(COMPILER, stand_in)
    try:
        yield
    finally:
        stand_in.leave()
