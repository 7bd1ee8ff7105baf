"""What belongs to the whole process, which a memory must leave alone: settings and random numbers."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy
import torch


class _Global(NamedTuple):
    read: Callable[[], Any]
    write: Callable[[Any], Any]


SETTINGS = {
    "whether gradients are recorded": _Global(torch.is_grad_enabled, torch.set_grad_enabled),
    "the default type of new tensors": _Global(torch.get_default_dtype, torch.set_default_dtype),
    "the default device of new tensors": _Global(torch.get_default_device, torch.set_default_device),
    "the number of threads": _Global(torch.get_num_threads, torch.set_num_threads),
    "the precision of matrix products": _Global(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    ),
    "whether algorithms must be deterministic": _Global(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    ),
    "whether anomalies are detected": _Global(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "whether autocast is on": _Global(
        lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)
    ),
}

GENERATORS = {
    "PyTorch's random numbers": _Global(torch.get_rng_state, torch.set_rng_state),
    "NumPy's random numbers": _Global(numpy.random.get_state, numpy.random.set_state),
    "Python's random numbers": _Global(random.getstate, random.setstate),
}


def read_settings() -> dict[str, Any]:
    """Return the process's settings by name."""
    return {name: setting.read() for name, setting in SETTINGS.items()}


def read_generators() -> dict[str, str]:
    """Return where the process's random numbers stand, by name."""
    return {name: _text(generator.read()) for name, generator in GENERATORS.items()}


def _text(state: Any) -> str:
    if isinstance(state, torch.Tensor):
        return str(state.numpy().tobytes())
    return str([part.tobytes() if isinstance(part, numpy.ndarray) else part for part in state])


def stir_generators() -> None:
    """Move all random numbers on, to where no seed of a memory's would put them."""
    torch.rand(1)
    numpy.random.rand()  # noqa: NPY002
    random.random()


@contextmanager
def kept_surroundings() -> Iterator[None]:
    """Leave settings and random numbers afterwards as they were, whatever a memory does to them."""
    every = SETTINGS | GENERATORS
    before = {name: one.read() for name, one in every.items()}
    try:
        yield
    finally:
        for name, value in before.items():
            if name in GENERATORS or every[name].read() != value:
                every[name].write(value)
