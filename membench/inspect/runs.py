"""A run by the place of its record: the record, the agent that it left, and the one that it began with."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import msgspec
import torch

from membench.agent import Agent, build_agent
from membench.catalogue import architecture_table
from membench.config import RunConfig
from membench.envs import Task, make_task
from membench.envs.task import check_length
from membench.errors import InputError
from membench.folders import runs_folder
from membench.records import RunRecord, read_record
from membench.streams import RandomStreams
from membench.train import load_agent


@dataclass(frozen=True)
class LoadedRun:
    """A run that can be looked into."""

    record: RunRecord
    config: RunConfig
    task: Task
    """The one that `record.success` was measured on, with the longest delay where delays vary."""
    agent: Agent
    untrained: Agent
    """The agent that the run began with."""
    results: Path
    """The results folder."""

    @property
    def discount(self) -> float | None:
        """That which the agent's values were trained with; None if they were not."""
        trains_values = self.config.objective == "ppo" and self.config.ppo.value_coefficient > 0
        return self.config.ppo.discount if trains_values else None


def load_run(place: Path, architecture: str | None = None) -> LoadedRun:
    """Load a run.

    Args:
        place: `RESULTS/runs/ID`, with or without the ending of its record (`.json`) or weights (`.pt`).
        architecture: the memory's class, `package.module:Class`. A record that names one is not believed:
        code
            is imported only if it is built in, installed, or named here.

    Raises:
        InputError: if there is no such record, it has no weights, or they do not fit.
    """
    path = place.with_suffix("") if place.suffix in (".json", ".pt") else place
    record_path, weights = path.with_name(f"{path.name}.json"), path.with_name(f"{path.name}.pt")
    if not record_path.is_file():
        raise InputError(f"run {str(place)!r}: {_no_record(path)}")
    record = read_record(record_path)
    config = msgspec.structs.replace(record.config, architecture=_trusted(record.architecture, architecture))
    task = _examined_task(record, config)
    if not weights.is_file():
        raise InputError(f"run {str(place)!r}: has no weights; they would lie in {weights}")
    agent = load_agent(config, weights)
    torch.manual_seed(RandomStreams(config.seed).initialisation)
    untrained = build_agent(config, make_task(config.task))
    for each in (agent, untrained):
        each.make_room_for(task)
    return LoadedRun(record, config, task, agent, untrained, path.absolute().parent.parent)


def _no_record(path: Path) -> str:
    """Return what is wrong with a place that no record lies at, and which is nearest."""
    if path.is_dir() and runs_folder(path).is_dir():
        path = runs_folder(path) / path.name
    names = [file.stem for file in path.parent.glob("*.json")]
    if not names:
        return "no such record (legal: RESULTS/runs/ID, of a run that left its record and its weights)"
    nearest = get_close_matches(path.name, names, n=1, cutoff=0.0)[0]
    count = "1 record lies" if len(names) == 1 else f"{len(names)} records lie"
    return f"no such record; did you mean {path.parent / nearest}? ({count} there)"


def _trusted(recorded: str, named: str | None) -> str:
    if named is None and recorded not in architecture_table():
        raise InputError(
            f"architecture {recorded!r}: importing it runs its code, and a record does not decide that; name "
            f"it yourself: --architecture {recorded}"
        )
    return named or recorded


def _examined_task(record: RunRecord, config: RunConfig) -> Task:
    horizon = config.task.horizon if record.frontier is None else record.frontier
    random_delays = {} if config.task.min_horizon is None else {"min_horizon": horizon}
    task = make_task(msgspec.structs.replace(config.task, horizon=horizon, **random_delays))
    longest = max(task.max_episode_steps, make_task(config.task).max_episode_steps)
    check_length(longest, f"run {record.run_id}")
    return task
