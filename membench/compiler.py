"""PyTorch's compiler, kept from being loaded by processes that compile nothing."""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


class _StandIn(ModuleType):
    """Stands in for the compiler; whoever wants more of it than to be left alone gets the real one."""

    @staticmethod
    def disable(fn: Callable, *_: Any, **__: Any) -> Callable:
        """Return `fn`: where there is no compiler, nothing need be hidden from it."""
        return fn

    @staticmethod
    def graph_break(*_: Any) -> None:
        """Do nothing, as the real one does where nothing is compiled."""

    def __getattr__(self, name: str) -> Any:
        if name == "__file__":  # `inspect` asks every module for it, also while others are being imported
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return getattr(import_module(COMPILER), name)


def leave_compiler_out() -> None:
    """Let PyTorch load its compiler where something is to be compiled, and not before.

    Its optimisers and its kernels for the meta device load it only in order to be hidden from it, which
    takes seconds of every process.
    """
    sys.modules.setdefault(COMPILER, _StandIn(COMPILER))
