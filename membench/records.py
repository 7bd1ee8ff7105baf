"""Records: what a run came to, one file per run on disk.

Under a results folder, `runs/ID.json` is the record of a run and `runs/ID.pt` its final weights. `runs.jsonl`
holds records too, one per line, to be kept or passed on; a file in `runs/` wins over a line of the same run.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal

import msgspec
from msgspec import Struct

from membench.config import RunConfig
from membench.errors import InputError

SCHEMA_VERSION = 2

PACKED = "runs.jsonl"
"""Name of the file of a results folder that holds many records."""

Status = Literal["solved", "unsolved", "diverged", "failed"]


class CurvePoint(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One evaluation on the learning curve; the last five come from the update before it."""

    steps: int
    """Training steps so far."""
    seconds: float
    horizon: int
    """The horizon trained at."""
    success: float
    """Greedy policy, fresh episodes."""
    train_success: float | None
    """Sampled policy, latest training episodes."""
    learning_rate: float
    entropy: float
    kl: float
    clip_fraction: float
    grad_norm: float
    explained_variance: float


class Rung(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A horizon that a ladder run solved."""

    horizon: int
    steps: int
    """Training steps so far, when it was solved."""
    seconds: float


class RunRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run came to. Times are in seconds from the start of the process that trained."""

    run_id: str
    architecture: str
    task: str
    horizon: int
    """The task's; of a ladder, the last that was tried."""
    seed: int
    status: Status
    """`solved`: two evaluations in a row reached `evaluation.solved_at`. `diverged`: a loss or gradient was
    no longer finite. `failed`: an error ended the run."""
    error: str | None = None
    """What ended a diverged or failed run."""
    recall_gap: int
    """Steps between seeing a cue and having to answer it, in the task that `success` was measured on."""
    chance: float
    """Expected success without a memory."""
    success: float | None = None
    """Share of right answers of the greedy policy over fresh episodes drawn after training."""
    sampled_success: float | None = None
    """The same of the sampled policy, over as many fresh episodes."""
    train_success: float | None = None
    """Share of right answers of the sampled policy over the last 320 training episodes; of a ladder, what
    `sampled_success` is."""
    frontier: int | None = None
    """The longest horizon that a ladder solved; `success` is measured there, with the weights of then."""
    rungs: list[Rung] = []
    """The horizons that a ladder solved, one after another."""
    steps: int = 0
    """Environment steps trained for."""
    evaluation_steps: int = 0
    """Environment steps of evaluations, not charged to `steps`."""
    steps_to_solved: int | None = None
    seconds_to_solved: float | None = None
    steps_to_sampled_95: int | None = None
    """Steps when first 95 % of the sampled answers of the last 320 training episodes were right."""
    seconds_to_sampled_95: float | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Processor time of the process that trained."""
    steps_per_second: float | None = None
    """Training steps per second of training, evaluations left out."""
    peak_memory_bytes: int | None = None
    """Largest resident set of the process, or largest allocation on the GPU."""
    parameters: dict[str, int] = {}
    """Trainable parameters per part, and their `total`."""
    state_bytes: int | None = None
    """Size of the state that one environment carries."""
    kernels: list[str] = []
    """What the memory was computed with: `pytorch`, or another library where it may choose one."""
    flops_per_step: float | None = None
    """Floating-point operations of the memory's matrix products per step, forward, over a whole episode; of a
    ladder, at its first rung."""
    curve: list[CurvePoint] = []
    config: RunConfig
    versions: dict[str, str] = {}
    machine: dict[str, str | int] = {}
    finished_at: str = ""
    """UTC, ISO 8601."""
    schema_version: int = SCHEMA_VERSION


MEASURED_ON_THE_MACHINE = (
    "seconds",
    "seconds_to_solved",
    "seconds_to_sampled_95",
    "cpu_seconds",
    "steps_per_second",
    "peak_memory_bytes",
    "finished_at",
)
"""Fields that differ between two runs of one configuration on one machine; all others are bit-identical."""


def runs_folder(results: Path) -> Path:
    """Return the folder of a results folder's records."""
    return results / "runs"


def record_path(results: Path, run_id: str) -> Path:
    """Return where the record of `run_id` lies."""
    return runs_folder(results) / f"{run_id}.json"


def weights_path(results: Path, run_id: str) -> Path:
    """Return where the final weights of `run_id` lie."""
    return runs_folder(results) / f"{run_id}.pt"


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears at `path` only once it is complete and on disk."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # readable like any other file, as mkstemp's are not
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_record(results: Path, record: RunRecord) -> Path:
    """Write a record atomically and return its path."""
    path = record_path(results, record.run_id)
    with atomic_writer(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=1))
    return path


def pack_records(results: Path) -> Path:
    """Write every record of a results folder into its `runs.jsonl`; return the path of that.

    Raises:
        InputError: if a file or line is damaged, for packing would drop it.
    """
    records, complaints = read_records(results)
    if complaints:
        raise InputError(f"--pack: {complaints[0]}; mend or remove it first")
    path = results / PACKED
    with atomic_writer(path) as file:
        file.writelines(msgspec.json.encode(record) + b"\n" for record in records)
    return path


def read_record(path: Path) -> RunRecord:
    """Read and validate a record.

    Raises:
        InputError: naming the file, if it cannot be read or is not a record.
    """
    try:
        return _decode(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror})") from error


def read_records(source: Path) -> tuple[list[RunRecord], list[str]]:
    """Read every record of a results folder, or of one file like its `runs.jsonl`.

    Returns:
        The records in a fixed order, and one sentence per file or line that is damaged or foreign.
    """
    packed = source if source.is_file() else source / PACKED
    contents = [(f"{packed}, line {number}", line) for number, line in enumerate(_lines(packed), start=1)]
    readers = [partial(_decode, content, where) for where, content in contents]
    readers += [partial(read_record, path) for path in runs_folder(source).glob("*.json")]
    records, complaints = {}, []
    for read in readers:
        try:
            record = read()
        except InputError as error:
            complaints.append(str(error))
        else:
            records[record.run_id] = record
    return [records[run_id] for run_id in sorted(records)], sorted(complaints)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror})") from error


def _decode(content: bytes, where: str) -> RunRecord:
    try:
        return msgspec.json.decode(content, type=RunRecord)
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"{where}: not a record of membench ({error})") from error


def make_results_folder(results: Path) -> None:
    """Make a results folder and see that records can be written to it.

    Raises:
        InputError: if they cannot.
    """
    make_writable_folder(results)
    runs_folder(results).mkdir(exist_ok=True)


def make_writable_folder(folder: Path) -> None:
    """Make a folder and see that it can be written to.

    Raises:
        InputError: if it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--out {str(folder)!r}: cannot write there ({error.strerror})") from error
