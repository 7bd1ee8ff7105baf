"""The plan of a results folder, `plan.json`: which runs it is meant to hold, and the command that asked.

It is what lets `membench report` say what is missing, and what keeps runs of other settings that lie in the
same folder out of its tables.
"""

import hashlib
import os
import shlex
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from membench.config import RunConfig, Settings, flatten
from membench.errors import InputError
from membench.folders import atomic_writer
from membench.records import RunRecord, read_records
from membench.untrusted import decode, new_place, read_file

NUM_REASONS = 3
"""So many reasons why nothing was found are named."""


class PlannedBy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A command that trained some of the planned runs."""

    command: str
    suite_digest: str
    """`membench.suite.suite_digest` when it was given; empty in plans of earlier versions."""


class Plan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the last `membench run` into a results folder asked for, with what it was added to."""

    suite: str
    """A built-in suite's name, or the path of a file, which is none of them though it be called like one."""
    profile: str
    question: str
    command: str
    """The last that trained something."""
    suite_digest: str = ""
    """As in `PlannedBy`, of `command`."""
    earlier: list[PlannedBy] = []
    """The commands before it, in their order."""
    preset: str | None = None
    overrides: Settings = {}
    num_parameters: int | None = None
    """Of `--match-parameters`; None leaves it to the suite."""
    configs: list[RunConfig]

    @property
    def commands(self) -> list[PlannedBy]:
        """Every command that trained planned runs, in order."""
        return [*self.earlier, PlannedBy(command=self.command, suite_digest=self.suite_digest)]

    @property
    def suite_changes(self) -> list[int]:
        """The places in `commands` of those before which the suite was changed, as far as that is known."""
        digests = [one.suite_digest for one in self.commands]
        return [
            place
            for place, (before, after) in enumerate(pairwise(digests), start=1)
            if before and after and before != after
        ]

    def extended(self, earlier: "Plan | None", *, trains: bool) -> "Plan":
        """Return this plan with the runs of an earlier one that differs in architectures and seeds only.

        Args:
            earlier: the plan of the folder so far; its commands are kept if any of its runs is.
            trains: whether this plan's command does; one that does not is not noted beside those that did.
        """
        if earlier is None or earlier._settings() != self._settings():
            return self
        replaced = {_cell(config) for config in self.configs}
        kept = [config for config in earlier.configs if _cell(config) not in replaced]
        configs = [*kept, *self.configs]
        if {config.run_id for config in configs}.isdisjoint(config.run_id for config in earlier.configs):
            return self
        ours = [one for one in self.commands if trains and one not in earlier.commands]
        *before, last = [*earlier.commands, *ours]
        return msgspec.structs.replace(
            self, configs=configs, command=last.command, suite_digest=last.suite_digest, earlier=before
        )

    @property
    def departs_from_its_suite(self) -> bool:
        """Whether --set or --match-parameters changed what its suite, or the preset, says.

        Where runs compute is no departure. Under a preset the budget may be another: then sizes are what the
        runs are about.
        """
        free = {"device", "num_threads"} | ({"total_timesteps", "evaluation"} if self.preset else set())
        return bool(self.overrides.keys() - free) or self.num_parameters is not None

    def command_for(self, architectures: list[str], results: Path) -> str:
        """Return the command that adds the runs of more memories to the plan's folder `results`."""
        words = ["membench", "run", "--suite", self.suite, "--profile", self.profile]
        words += ["--preset", self.preset] if self.preset else []
        words += ["--match-parameters", str(self.num_parameters)] if self.num_parameters else []
        for field, value in flatten(self.overrides).items():
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            words += ["--set", f"{field}={shown}"]
        return shlex.join([*words, "--architectures", ",".join(architectures), "--out", str(results)])

    def _settings(self) -> tuple:
        suite = Path(self.suite).name  # wherever the command was given
        return suite, self.profile, self.preset, self.overrides, self.num_parameters

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


class PlannedRuns(NamedTuple):
    """A results folder, what it is meant to hold, and what it holds of that."""

    results: Path
    plan: Plan
    records: list[RunRecord]


def shard_of(configs: list[RunConfig], number: int, num_shards: int) -> list[RunConfig]:
    """Return one of `num_shards` parts of runs, from 1 on: each run is in one part, whoever asks.

    The parts differ by one run at most, and are drawn by names that are hashes, so that no part has all the
    runs that take long.
    """

    def place(config: RunConfig) -> bytes:
        return hashlib.blake2b(config.run_id.encode()).digest()

    chosen = {config.run_id for config in sorted(configs, key=place)[number - 1 :: num_shards]}
    return [config for config in configs if config.run_id in chosen]


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
    return decode(read_file(path), Plan, str(path), "a plan of membench") if os.path.lexists(path) else None


def plan_or_none(results: Path) -> tuple[Plan | None, list[str]]:
    """Return the plan of a results folder, and a sentence about one that is there and cannot be read."""
    try:
        return read_plan(results), []
    except InputError as error:
        return None, [str(error)]


def set_aside_plan(results: Path) -> list[str]:
    """Move a plan that cannot be read to the results folder's `set-aside/`, and say so in a sentence."""
    _, complaints = plan_or_none(results)
    if not complaints:
        return []
    place = new_place(results, "plan.json")
    (results / "plan.json").rename(place)
    return [f"set aside: {complaints[0]}; it lies in {place} now"]


def runs_by_suite(folder: Path) -> tuple[dict[str, PlannedRuns], list[str]]:
    """Return what `planned_runs` does, of which there must be some.

    Raises:
        InputError: if there are none, or two folders hold the same suite.
    """
    found, left_out = planned_runs(folder)
    if not found:
        others = [f"{len(left_out) - NUM_REASONS} more"] * (len(left_out) > NUM_REASONS)
        reasons = "; ".join(left_out[:NUM_REASONS] + others)
        raise InputError(
            f"{folder}: no results folder of a suite is in there{where_runs_lie(folder)}"
            + f" ({reasons})" * bool(reasons)
        )
    return found, left_out


def where_runs_lie(folder: Path) -> str:
    """Return a question whether the folder below was meant where the results folders lie one level deeper."""
    plans = sorted(folder.glob("*/*/plan.json"))
    return f"; did you mean {plans[0].parent.parent}?" if plans else ""


def planned_runs(source: Path) -> tuple[dict[str, PlannedRuns], list[str]]:
    """Return the planned runs of every results folder in `source`, or of that one if it is one.

    Args:
        source: the folder, or a file of records, whose plan lies beside it.

    Returns:
        Suite -> its runs, with a preset's name behind it as in `horizons --preset doc`; and a sentence about
        everything that was left out: damaged files, missing runs, and folders whose runs are not those of a
        suite as it stands.

    Raises:
        InputError: if two folders hold the same suite.
    """
    found: dict[str, PlannedRuns] = {}
    left_out: list[str] = []
    is_folder = source.is_dir()
    for results in (source, *sorted(path for path in source.glob("*") if path.is_dir())):
        records, complaints = read_records(results)
        left_out += complaints
        plan, of_the_plan = plan_or_none(results if is_folder else results.parent) if records else (None, [])
        left_out += of_the_plan
        if plan is None or plan.departs_from_its_suite:
            left_out += [f"{results}: left out, for its runs are not those of a suite as it stands"] * bool(
                records
            )
            continue
        name = f"{plan.suite} --preset {plan.preset}" if plan.preset else plan.suite
        if name in found:
            raise InputError(f"{source}: two results folders hold runs of {name!r}; one is {results}")
        found[name] = PlannedRuns(results if is_folder else results.parent, plan, plan.planned(records))
        if missing := plan.missing(records):
            are = "is" if len(missing) == 1 else "are"
            left_out.append(f"{results}: {len(missing)} of {len(plan.configs)} planned runs {are} missing")
    return found, left_out


def plan_of(results: Path, records: list[RunRecord]) -> tuple[Plan, list[str]]:
    """Return the plan of a results folder; where there is none to be read, one of the runs that are there.

    Returns:
        The plan, and a sentence about one that is there and cannot be read.
    """
    plan, complaints = plan_or_none(results)
    return plan or Plan(
        suite=results.name,
        profile="single runs",
        question="What came of the runs in this folder?",
        command=f"membench train --out {results.name}",
        configs=[record.config for record in records],
    ), complaints
