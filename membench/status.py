"""How far a results folder has come, seen from outside: what is done, under way, failed and missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from msgspec import Struct

from membench.config import RunConfig
from membench.errors import InputError
from membench.plan import plan_of
from membench.progress import Note, notes_of
from membench.records import RunRecord, read_records


class RunUnderWay(Struct, frozen=True, kw_only=True):
    """A run that goes on somewhere."""

    run_id: str
    label: str
    """For people; the `run_id` where no plan says what it stands for."""
    note: Note


class FolderStatus(Struct, frozen=True, kw_only=True):
    """How far the runs of a results folder have come; every planned run is in exactly one of the lists."""

    suite: str
    profile: str
    planned: int
    done: dict[str, int]
    """Runs that have ended, by status; without those that are under way again."""
    running: list[RunUnderWay]
    failed: list[str]
    """Labels and errors of runs that an error ended; the same command does them again."""
    missing: list[str]
    """Labels of runs that neither have a record nor are under way."""
    seconds_left: float | None
    """Estimated, at as many runs side by side as go on now; None while none does or none has ended."""
    complaints: list[str]
    """A sentence per file that could not be read, or is a second record of a run."""


def folder_status(results: Path) -> FolderStatus:
    """Return how far a results folder has come; reads only.

    A folder without a plan, as `membench train` makes them, is taken to plan the runs that are there.

    Raises:
        InputError: if it holds neither a record, nor a plan, nor a run under way.
    """
    records, complaints = read_records(results)
    plan, of_the_plan = plan_of(results, records)
    complaints += of_the_plan
    notes, of_the_notes = notes_of(results)
    complaints += of_the_notes
    if not (plan.configs or notes or complaints):
        raise InputError(f"{results}: no run of membench is in there, and none is planned")
    by_id = {config.run_id: config for config in plan.configs}
    ended = {record.config.run_id: record for record in plan.planned(records)}
    standing = {run_id: record for run_id, record in ended.items() if run_id not in notes}
    whole = {run_id: record for run_id, record in standing.items() if record.status != "failed"}
    return FolderStatus(
        suite=plan.suite,
        profile=plan.profile,
        planned=len(by_id.keys() | notes.keys()),
        done=_counts([record.status for record in whole.values()]),
        running=[
            RunUnderWay(run_id=run_id, label=by_id[run_id].label if run_id in by_id else run_id, note=note)
            for run_id, note in notes.items()
        ],
        failed=[
            f"{by_id[run_id].label}: {record.error or 'no error noted'}"
            for run_id, record in standing.items()
            if record.status == "failed"
        ],
        missing=[
            config.label for run_id, config in by_id.items() if run_id not in ended.keys() | notes.keys()
        ],
        seconds_left=seconds_left(
            [config for run_id, config in by_id.items() if run_id not in whole],
            list(whole.values()),
            {run_id: note.steps for run_id, note in notes.items()},
            num_jobs=len(notes),
        ),
        complaints=sorted(complaints),
    )


def seconds_left(
    to_do: Sequence[RunConfig],
    finished: Sequence[RunRecord],
    steps: Mapping[str, int],
    *,
    num_jobs: int,
) -> float | None:
    """Estimate the time to the end from what finished runs took per step of their budgets.

    Args:
        to_do: the runs that have not ended.
        finished: records of runs that have.
        steps: run id -> training steps so far, of runs under way.
        num_jobs: runs side by side.

    Returns:
        Seconds; None where no run has finished, or none goes on.
    """
    if not finished or num_jobs < 1:
        return None
    costs: dict[str, list[float]] = {}
    for record in finished:
        cost = max(0.0, record.seconds) / record.config.total_timesteps  # a clock may have been set back
        costs.setdefault(record.architecture, []).append(cost)
    usual = mean(cost for found in costs.values() for cost in found)
    left = 0.0
    for config in to_do:
        cost = mean(costs.get(config.architecture, [usual]))
        left += cost * max(0, config.total_timesteps - steps.get(config.run_id, 0))
    return left / num_jobs


def _counts(names: list[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}


def shown_status(status: FolderStatus) -> list[dict[str, Any]]:
    """Return the runs under way as rows for people."""
    return [
        {
            "running": run.label,
            "steps": f"{run.note.steps:,} / {run.note.total_timesteps:,}",
            "greedy success": "" if run.note.success is None else f"{run.note.success:.2f}",
            "sampled success": "" if run.note.train_success is None else f"{run.note.train_success:.2f}",
        }
        for run in status.running
    ]
