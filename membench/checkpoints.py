"""Checkpoints: a run under way, saved so that another process can go on with it, bit for bit.

`checkpoints/ID.pt` under a results folder is the latest checkpoint of a run that has no record yet. It is a
digest of what follows it, then a file of `torch.save` that holds tensors, numbers and text alone and is read
as such: nothing that lies in a results folder is ever executed.
"""

import hashlib
import io
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from membench import describe
from membench.care import DEFAULT_CARE
from membench.config import RunConfig
from membench.folders import atomic_writer
from membench.training import Training
from membench.untrusted import read_file

log = logging.getLogger(__name__)

_digest = partial(hashlib.blake2b, digest_size=32)


class Interrupted(Exception):  # noqa: N818
    """A run was asked to end; its checkpoint is complete."""


class Checkpoint:
    """The checkpoint of one run: where it lies and when it is written.

    Args:
        path: the file.
        config: the run's.
        seconds: time between two of them.
        is_interrupted: says whether the run shall end at its next update.
    """

    def __init__(
        self,
        path: Path,
        config: RunConfig,
        *,
        seconds: float = DEFAULT_CARE.checkpoint_seconds,
        is_interrupted: Callable[[], bool] = lambda: False,
    ):
        self.path, self.config, self.seconds = path, config, seconds
        self._is_interrupted = is_interrupted
        self._origin = origin(config)
        self._saved_at = time.monotonic()

    def resume(self, build: Callable[[], Training]) -> Training:
        """Return the run that `build` begins, where its checkpoint left it if there is one to go on from.

        One that is damaged is set aside, and the run starts anew.
        """
        training = build()
        try:
            state = self._read()
            if state is not None:
                training.load_state_dict(state)
                log.info("resumed from its checkpoint at %s steps", f"{training.steps:,}")
        except Exception as error:  # whatever a damaged file makes PyTorch raise
            aside = self.path.with_suffix(".damaged")
            self.path.replace(aside)
            cause = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
            log.warning("starts anew: its checkpoint is damaged (%s) and now lies in %s", cause, aside)
            return build()
        return training

    def keep(self, training: Training) -> None:
        """Write the checkpoint if its time has come or the run shall end.

        Raises:
            Interrupted: once the checkpoint of a run that shall end is written.
        """
        if self._is_interrupted():
            self.save(training)
            raise Interrupted
        if time.monotonic() - self._saved_at >= self.seconds:
            self.save(training)

    def save(self, training: Training) -> None:
        """Write the checkpoint; the one before it stays until this one is complete and on disk."""
        content = serialised({"origin": self._origin, "training": training.state_dict()})
        with atomic_writer(self.path) as file:
            file.write(_digest(content).digest())
            file.write(content)
        self._saved_at = time.monotonic()

    def _read(self) -> dict[str, Any] | None:
        """Return the state of the run, None where there is none or it would not go on to the same bits."""
        if not os.path.lexists(self.path):
            return None
        written = read_file(self.path)
        size = _digest().digest_size
        if _digest(written[size:]).digest() != written[:size]:
            raise ValueError("not what was written")
        content = torch.load(io.BytesIO(written[size:]), map_location="cpu", weights_only=True)
        other = [name for name, value in self._origin.items() if content["origin"].get(name) != value]
        if other:
            log.warning("starts anew: its checkpoint is of another %s", ", ".join(other))
            return None
        return content["training"]


def serialised(content: dict[str, Any]) -> memoryview:
    """Return what `torch.save` writes of tensors, numbers and text.

    To be written at once: where a disk is full, PyTorch's own writer would hide the OSError behind another.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def checkpoint_path(results: Path, run_id: str) -> Path:
    """Return where the checkpoint of `run_id` lies."""
    return results / "checkpoints" / f"{run_id}.pt"


def origin(config: RunConfig) -> dict[str, str]:
    """Return what must be the same for a resumed run to end with the same bits as one without a break."""
    versions = describe.versions(config.architecture)
    versions.pop("commit", None)  # one that leaves `code` as it is changes no result
    return {
        "configuration": msgspec.json.encode(config, order="sorted").decode(),
        "processor": f"{describe.processor_name()} {torch.backends.cpu.get_cpu_capability()}",
        "device": "cpu" if config.device == "cpu" else torch.cuda.get_device_name(config.device),
        **versions,
    }
