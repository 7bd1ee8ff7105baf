"""Records: what a run came to, one file per run on disk.

Under a results folder, `runs/ID.json` is the record of a run and `runs/ID.pt` its final weights. `runs.jsonl`
holds records too, one per line, to be kept or passed on; a file in `runs/` wins over a line of the same run.

A results folder may come from anyone. Whatever is read is checked as if a stranger had made it: types,
ranges, and that a record agrees with the configuration in it. What fails is named, never dropped in silence,
and moved to `set-aside/` by the commands that write records; nothing is ever deleted.
"""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from membench.config import Fraction, NonNegativeFloat, NonNegativeInt, RunConfig
from membench.envs import make_task
from membench.errors import InputError, one_line, shown
from membench.folders import atomic_writer, record_path, runs_folder
from membench.untrusted import decode, new_place, read_file

SCHEMA_VERSION = 2

PACKED = "runs.jsonl"
"""Name of the file of a results folder that holds many records."""

RunId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}\Z")]
"""A plain file name, for that is what it becomes."""

Status = Literal["solved", "unsolved", "diverged", "failed"]


class CurvePoint(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One evaluation on the learning curve; `learning_rate` and what follows is of the update before it."""

    steps: NonNegativeInt
    """Training steps so far."""
    seconds: float
    horizon: NonNegativeInt
    """The horizon trained at."""
    success: Fraction
    """Greedy policy, fresh episodes."""
    train_success: Fraction | None
    """Sampled policy, latest training episodes."""
    learning_rate: NonNegativeFloat
    entropy: float
    kl: float
    clip_fraction: NonNegativeFloat
    grad_norm: NonNegativeFloat
    explained_variance: float | None
    """None where it overflows."""
    memory_norm: float | None = None
    """Mean norm of the memory's slots after the last step of some of these episodes, of the hidden state
    where there are no slots; None if it is not finite, and in earlier records. See
    `membench.inspect.utilisation`."""
    memory_saturation: Fraction | None = None
    """Share of their values beyond 0.1 in size."""


class Rung(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A horizon that a ladder run solved."""

    horizon: NonNegativeInt
    steps: NonNegativeInt
    """Training steps so far, when it was solved."""
    seconds: float


class CueGradient(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much gradient of the answers' cross-entropy reaches what the step of the cue shows."""

    norm: NonNegativeFloat
    """Root mean square over episodes of the gradient's norm."""
    share: Fraction
    """Of that of the gradient with respect to all steps."""


class RunRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run came to. Times are in seconds from the start of the process that trained.

    They are not held to be positive: a clock that was set back during a run is no reason to lose it.
    """

    run_id: RunId
    architecture: str
    task: str
    horizon: NonNegativeInt
    """The task's; of a ladder, the last that was tried."""
    seed: NonNegativeInt
    status: Status
    """`solved`: two evaluations in a row reached `evaluation.solved_at`. `diverged`: a loss or gradient was
    no longer finite. `failed`: an error ended the run."""
    error: str | None = None
    """What ended a diverged or failed run."""
    recall_gap: NonNegativeInt
    """Steps between seeing a cue and having to answer it, in the task that `success` was measured on."""
    chance: Fraction
    """Expected success without a memory."""
    success: Fraction | None = None
    """Share of right answers of the greedy policy over fresh episodes drawn after training."""
    sampled_success: Fraction | None = None
    """The same of the sampled policy, over as many fresh episodes."""
    train_success: Fraction | None = None
    """Share of right answers of the sampled policy over the last 320 training episodes; of a ladder, what
    `sampled_success` is."""
    success_at: dict[NonNegativeInt, Fraction] = {}
    """Horizon -> what `success` is at each of `evaluation.horizons`."""
    cue_gradient_before: CueGradient | None = None
    """Before training, of a ladder at its first rung; None where the task has no fixed step of the cue, or
    the gradient is not finite."""
    cue_gradient_after: CueGradient | None = None
    """After training; of a ladder, at its frontier."""
    frontier: NonNegativeInt | None = None
    """The longest horizon that a ladder solved; `success` is measured there, with the weights of then."""
    rungs: list[Rung] = []
    """The horizons that a ladder solved, one after another."""
    steps: NonNegativeInt = 0
    """Environment steps trained for."""
    evaluation_steps: NonNegativeInt = 0
    """Environment steps of evaluations, not charged to `steps`."""
    steps_to_solved: NonNegativeInt | None = None
    seconds_to_solved: float | None = None
    steps_to_sampled_95: NonNegativeInt | None = None
    """Steps when first 95 % of the sampled answers of the last 320 training episodes were right."""
    seconds_to_sampled_95: float | None = None
    seconds: float = 0.0
    cpu_seconds: NonNegativeFloat = 0.0
    """Processor time of the process that trained."""
    steps_per_second: NonNegativeFloat | None = None
    """Training steps per second of training, evaluations left out."""
    peak_memory_bytes: NonNegativeInt | None = None
    """Largest resident set of the process, or largest allocation on the GPU."""
    parameters: dict[str, NonNegativeInt] = {}
    """Trainable parameters per part, and their `total`."""
    state_bytes: NonNegativeInt | None = None
    """Size of the state that one environment carries; of a ladder, at its frontier."""
    kernels: list[str] = []
    """What the memory was computed with: `pytorch`, or another library where it may choose one."""
    flops_per_step: NonNegativeFloat | None = None
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


def describe_outcome(record: RunRecord) -> str:
    """Return one line on how a run ended: where it was solved, and what it was worth when it ended."""
    outcome = f"{record.status} {record.config.label}: "
    if record.status == "failed":
        return one_line(outcome + (record.error or ""))
    if record.status == "solved" and record.steps_to_solved is not None:
        outcome += f"at {record.steps_to_solved:,} steps; "
    success = "success -" if record.success is None else f"success {record.success:.3f}"
    return one_line(f"{outcome}{success} after {record.steps:,} steps, {record.seconds:.0f} s")


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
        InputError: naming the file and what is wrong, if it cannot be read or is not a record.
    """
    return _decode(read_file(path), str(path))


class Fault(NamedTuple):
    """A file, or a line of one, that does not count as a record."""

    path: Path
    line: int | None
    """From 1 on; None for a whole file."""
    complaint: str
    """What is wrong, in one sentence that names the place."""


def read_records(source: Path) -> tuple[list[RunRecord], list[str]]:
    """Read every record of a results folder, or of one file like its `runs.jsonl`.

    Returns:
        The records in a fixed order, one per configuration, and one sentence per file or line that is
        damaged, foreign, or a second record of the same run.
    """
    records, faults = examine_records(source)
    return records, sorted(fault.complaint for fault in faults)


def examine_records(source: Path) -> tuple[list[RunRecord], list[Fault]]:
    """Return what `read_records` does, with the places of what does not count."""
    packed = source.resolve() if source.is_file() else source / PACKED
    faults: list[Fault] = []
    records = _records_of_lines(packed, faults)
    records |= _records_of_files(sorted(runs_folder(source).glob("*.json"), key=str), faults)
    return sorted(records.values(), key=lambda record: record.run_id), faults


def _key(record: RunRecord) -> bytes:
    """Return what records of one run have in common; quicker than the name of its configuration."""
    return msgspec.json.encode(record.config, order="sorted")


def _records_of_lines(packed: Path, faults: list[Fault]) -> dict[bytes, RunRecord]:
    found: dict[bytes, RunRecord] = {}
    for number, line in enumerate(_lines(packed), start=1):
        where = f"{packed}, line {number}"
        try:
            record = _decode(line, where)
        except InputError as error:
            faults.append(Fault(packed, number, str(error)))
            continue
        if found.setdefault(_key(record), record) != record:
            faults.append(
                Fault(packed, number, f"{where}: another record of a run that an earlier line holds")
            )
    return found


def _records_of_files(paths: list[Path], faults: list[Fault]) -> dict[bytes, RunRecord]:
    found: dict[bytes, RunRecord] = {}
    places: dict[bytes, Path] = {}
    for path in paths:
        try:
            record = read_record(path)
        except InputError as error:
            faults.append(Fault(path, None, str(error)))
            continue
        key = _key(record)
        if (other := places.get(key)) is not None:  # the file that the configuration names wins
            wins, loses = (path, other) if path.stem == record.config.run_id else (other, path)
            faults.append(Fault(loses, None, f"{loses}: another record of the run that {wins} holds"))
            if wins is other:
                continue
        found[key], places[key] = record, path
    return found


def _lines(path: Path) -> list[bytes]:
    return read_file(path).splitlines() if path.exists() else []


def set_aside_faults(results: Path) -> list[str]:
    """Move what does not count as a record out of a results folder's records, into its `set-aside/`.

    Returns:
        One sentence for each: what is wrong with it, and where it lies now.
    """
    by_file: dict[Path, list[Fault]] = {}
    for fault in examine_records(results)[1]:
        by_file.setdefault(fault.path, []).append(fault)
    said = []
    for path, faults in by_file.items():
        place = new_place(results, path.name)
        if faults[0].line is None:
            path.rename(place)
        else:
            _move_lines(path, {fault.line for fault in faults}, place)
        said += [f"set aside: {fault.complaint}; it lies in {place} now" for fault in faults]
    return sorted(said)


def _move_lines(path: Path, numbers: set[int | None], place: Path) -> None:
    """Move the lines of these numbers, from 1 on, into the file `place`; no moment is without them."""
    lines = list(enumerate(_lines(path), start=1))
    for target, wanted in ((place, True), (path, False)):
        with atomic_writer(target) as file:
            file.writelines(line + b"\n" for number, line in lines if (number in numbers) == wanted)


def _decode(content: bytes, where: str) -> RunRecord:
    try:
        record = decode(content, RunRecord, where, "a record of membench")
    except InputError as error:
        raise InputError(f"{error}{_written_by_another_version(content)}") from None
    _check_agreement(record, where)
    return record


def _written_by_another_version(content: bytes) -> str:
    """Return a remark on a record of another schema version; empty if it is of ours, or no record at all."""

    class Versions(Struct):
        schema_version: int = SCHEMA_VERSION

    try:
        written = msgspec.json.decode(content, type=Versions).schema_version
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return "" if written == SCHEMA_VERSION else f"; its schema_version is {written}, ours {SCHEMA_VERSION}"


def _check_agreement(record: RunRecord, where: str) -> None:
    """Raise an `InputError` if a record contradicts the configuration in it, or that is of no task."""
    config = record.config
    pairs = {
        "architecture": (record.architecture, config.architecture),
        "task": (record.task, config.task.name),
        "seed": (record.seed, config.seed),
        "horizon": (record.horizon, record.horizon if config.ladder else config.task.horizon),
    }
    for key, (stated, configured) in pairs.items():
        if stated != configured:
            raise InputError(
                f"{where}: {key} {shown(stated)}: must be that of its config, {shown(configured)}"
            )
    try:
        make_task(config.task)
    except InputError as error:
        raise InputError(f"{where}: config: {error}") from None
