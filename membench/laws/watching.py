"""Watches over every operation of PyTorch: of what type and on which device its tensors are."""

import traceback
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from membench.faults import name_line
from membench.laws.comparing import LawBroken


class _Watch(TorchDispatchMode):
    """Sees the tensors of one or more dimensions that every operation takes and gives."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # PyTorch would import its compiler, two seconds, to keep it away from a watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in _tensors((*args, *kwargs.values())):
            self.taken(func, tensor)
        result = func(*args, **kwargs)
        for tensor in _tensors((result,)):
            self.given(func, tensor)
        return result

    def taken(self, func: Any, tensor: Tensor) -> None:
        """See an argument."""

    def given(self, func: Any, tensor: Tensor) -> None:
        """See a result."""


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            if value.dim():
                yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


class RoundingWatch(_Watch):
    """Notices results that have fewer bits than a type."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.num_bits, self.has_rounded = torch.finfo(dtype).bits, False

    def given(self, func: Any, tensor: Tensor) -> None:
        """See whether `tensor` is of too few bits."""
        if tensor.is_floating_point() or tensor.is_complex():
            self.has_rounded |= torch.finfo(tensor.dtype).bits < self.num_bits


class DeviceWatch(_Watch):
    """Refuses every argument and result of one or more dimensions on another device.

    The meta device alone would not do: matmul, linear, indexing and copy_ take CPU tensors there silently.
    """

    def __init__(self, device: torch.device):
        super().__init__()
        self.device = device

    def taken(self, func: Any, tensor: Tensor) -> None:
        """Refuse an argument on another device."""
        self._require_here(func, "takes", tensor)

    def given(self, func: Any, tensor: Tensor) -> None:
        """Refuse a result on another device."""
        self._require_here(func, "gives", tensor)

    def _require_here(self, func: Any, verb: str, tensor: Tensor) -> None:
        if tensor.device.type != self.device.type:
            what, line = f"a tensor {tuple(tensor.shape)}", name_line(traceback.extract_stack())
            raise LawBroken(
                f"{func} {verb} {what} on {tensor.device}, not on {self.device}{line}",
                "a tensor created without device=..., or kept in an attribute where a buffer was meant",
            )
