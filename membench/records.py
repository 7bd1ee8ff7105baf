"""Records: one file per run on disk, and the tidy frame that tables and plots are made from.

Under a results folder, `runs/ID.json` is the record of a run and `runs/ID.pt` its final weights.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from membench.config import RunConfig
from membench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 2

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
    """Steps between the last cue and the first query; of a ladder, the last that was tried."""
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


def read_record(path: Path) -> RunRecord:
    """Read and validate a record.

    Raises:
        InputError: naming the file, if it cannot be read or is not a record.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise InputError(f"{path}: not a record of membench ({error})") from error


def read_records(results: Path) -> tuple[list[RunRecord], list[str]]:
    """Read every record under a results folder.

    Returns:
        The records in a fixed order, and one sentence per file that is damaged or foreign.
    """
    records, complaints = [], []
    for path in sorted(runs_folder(results).glob("*.json")):
        try:
            records.append(read_record(path))
        except InputError as error:
            complaints.append(str(error))
    return records, complaints


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


TASK_COLUMNS = ("num_items", "num_cues", "query_flag", "observation_noise", "reveal_cue")
"""Fields of the task, beside its name and horizon, that a frame has as columns."""


def to_frame(records: list[RunRecord]) -> "pd.DataFrame":
    """Return one row per run.

    The record's plain fields; `parameters` as its total; `num_answers`, those that `success` is a share of;
    `device`, `objective`, `ladder` and `first_horizon` (the task's, which a ladder begins at) from the
    configuration, and `TASK_COLUMNS`; `num_slots` and `hidden_size` where they were chosen by hand; `curve`
    and `rungs` as lists.
    """
    import pandas as pd  # training needs none

    from membench.envs import make_task

    plain = [
        field
        for field in RunRecord.__struct_fields__
        if field not in ("config", "versions", "machine", "parameters", "curve", "rungs")
    ]
    rows: list[dict[str, Any]] = [
        {name: getattr(record, name) for name in plain}
        | {
            "parameters": record.parameters.get("total"),
            "device": record.config.device,
            "objective": record.config.objective,
            "ladder": record.config.ladder,
            "num_answers": record.config.evaluation.num_final_episodes
            * make_task(record.config.task).num_questions,
            "first_horizon": record.config.task.horizon,
            "num_slots": record.config.memory.get("num_slots"),
            "hidden_size": None
            if record.config.matched_parameters
            else record.config.memory.get("hidden_size"),
        }
        | {name: getattr(record.config.task, name) for name in TASK_COLUMNS}
        | {"curve": record.curve, "rungs": record.rungs}
        for record in records
    ]
    configured = [
        "parameters",
        "device",
        "objective",
        "ladder",
        "num_answers",
        "first_horizon",
        "num_slots",
        "hidden_size",
    ]
    return pd.DataFrame(rows, columns=[*plain, *configured, *TASK_COLUMNS, "curve", "rungs"])
