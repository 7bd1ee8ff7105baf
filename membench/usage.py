"""What a run has taken so far: time and memory, over all processes that have worked on it."""

import resource
import sys
import time

import psutil
import torch


class Usage:
    """Time and memory of a run.

    A run that is resumed in another process has taken what it had when its checkpoint was written, and what
    the new process takes from its start on. The time in between does not count, nor does what a process did
    after its last checkpoint: that is done again.

    Args:
        device: where the run trains.
        started: the `time.time()` that the seconds of this process count from.
    """

    def __init__(self, device: str, started: float):
        self._device, self._started = device, started
        self._earlier = {"seconds": 0.0, "cpu_seconds": 0.0, "peak_memory_bytes": 0}

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self._earlier["seconds"] + time.time() - self._started

    @property
    def cpu_seconds(self) -> float:
        """Processor time."""
        return self._earlier["cpu_seconds"] + time.process_time()

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory that one of the processes has held."""
        return max(int(self._earlier["peak_memory_bytes"]), peak_memory_bytes(self._device))

    def state_dict(self) -> dict[str, float]:
        """Return what was taken so far."""
        return {name: getattr(self, name) for name in self._earlier}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Add what an earlier process took."""
        self._earlier = {name: state[name] for name in self._earlier}


def peak_memory_bytes(device: str) -> int:
    """Return the most memory that this process has held so far: resident, or allocated on a CUDA device."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def process_started() -> float:
    """Return the `time.time()` at which this process started."""
    return psutil.Process().create_time()
