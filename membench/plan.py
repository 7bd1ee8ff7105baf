"""The plan of a results folder, `plan.json`: which runs it is meant to hold, and the command that asked.

It is what lets `membench report` say what is missing, and what keeps runs of other settings that lie in the
same folder out of its tables.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from membench.config import RunConfig, Settings
from membench.errors import InputError
from membench.records import RunRecord, atomic_writer, read_records


class Plan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the last `membench run` into a results folder asked for."""

    suite: str
    profile: str
    question: str
    command: str
    preset: str | None = None
    overrides: Settings = {}
    num_parameters: int | None = None
    """Of `--match-parameters`; None leaves it to the suite."""
    configs: list[RunConfig]

    def extended(self, earlier: "Plan | None") -> "Plan":
        """Return this plan with the runs of an earlier one that differs in architectures and seeds only."""
        if earlier is None or earlier._settings() != self._settings():
            return self
        replaced = {_cell(config) for config in self.configs}
        kept = [config for config in earlier.configs if _cell(config) not in replaced]
        return msgspec.structs.replace(self, configs=[*kept, *self.configs])

    def _settings(self) -> tuple:
        return self.suite, self.profile, self.preset, self.overrides, self.num_parameters

    def missing(self, records: list[RunRecord]) -> list[RunConfig]:
        """Return the planned runs that no record exists for, by the configuration that it holds.

        Its `run_id` is that of the version of membench that wrote it.
        """
        present = {record.config.run_id for record in records}
        return [config for config in self.configs if config.run_id not in present]

    def planned(self, records: list[RunRecord]) -> list[RunRecord]:
        """Return the records of planned runs."""
        wanted = {config.run_id for config in self.configs}
        return [record for record in records if record.config.run_id in wanted]


def _cell(config: RunConfig) -> tuple:
    return config.architecture, config.task, config.objective, config.seed


def write_plan(results: Path, plan: Plan) -> None:
    """Write the plan of a results folder."""
    with atomic_writer(results / "plan.json") as file:
        file.write(msgspec.json.format(msgspec.json.encode(plan), indent=1))


def read_plan(results: Path) -> Plan | None:
    """Return the plan of a results folder, None if it has none (single runs of `membench train`).

    Raises:
        InputError: for a file that is not a plan.
    """
    path = results / "plan.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a plan of membench ({error})") from error


def records_by_suite(folder: Path) -> dict[str, list[RunRecord]]:
    """Return the planned records of every results folder in `folder`, or of that one if it is one.

    Returns:
        Suite -> records; with a preset, its name follows as in `horizons --preset doc`.

    Raises:
        InputError: if there is none, or two hold the same suite.
    """
    found: dict[str, list[RunRecord]] = {}
    for results in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        records, _ = read_records(results)
        if not records:
            continue
        plan = plan_of(results, records)
        name = f"{plan.suite} --preset {plan.preset}" if plan.preset else plan.suite
        if name in found:
            raise InputError(f"{folder}: two results folders hold runs of {name!r}; one is {results}")
        found[name] = plan.planned(records)
    if not found:
        raise InputError(f"{folder}: no results folder of membench is in there")
    return found


def plan_of(results: Path, records: list[RunRecord]) -> Plan:
    """Return the plan of a results folder; where there is none, one of the runs that are there.

    Raises:
        InputError: for a file that is not a plan.
    """
    return read_plan(results) or Plan(
        suite=results.name,
        profile="single runs",
        question="What came of the runs in this folder?",
        command=f"membench train --out {results.name}",
        configs=[record.config for record in records],
    )
