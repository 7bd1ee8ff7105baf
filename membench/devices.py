"""Where a run computes, and how this process is set up for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from membench.allocator import keep_freed_memory
from membench.config import RunConfig
from membench.errors import InputError


def check_device(device: str) -> None:
    """See that `device` is here.

    Raises:
        InputError: naming those that are.
    """
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if device not in here and not (device == "cuda" and len(here) > 1):
        raise InputError(f"device {device!r}: no such device here (legal: {', '.join(here)})")


def prepare_process(config: RunConfig) -> None:
    """Set this process up to compute what `config` says.

    Raises:
        InputError: for a device that is not here.
    """
    check_device(config.device)
    torch.set_num_threads(config.num_threads)
    keep_freed_memory()
    # cuDNN rounds to 10 bits unless told otherwise: an LSTM would get another precision than other memories.
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Take numbers below 1e-38 for zero for a while.

    What fades over a long silence ends among them, where a processor takes many times as long. For a while
    only, as this holds for all that the process computes: a check that a number is above 0 would let 0 pass.
    """
    was_so = bool(torch.tensor(1e-38) * 1e-3 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_so)
