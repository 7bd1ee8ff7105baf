"""Tuning: the same search for every memory, on seeds and a horizon that no suite reports.

A search tries `NUM_TRIALS` settings: the memory's own alternatives of its initialisation
(`Memory.initialisations`) times as many learning rates as that leaves. What was found for the built-in
memories lies in `architectures/tuned.json`, beside the trials that it was chosen from. With the settings of
the class beneath it, it is the lowest layer of every run's settings.
"""

import os
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from membench.catalogue import load_architecture, memory_options
from membench.config import RunConfig, Settings, build_config, merge, nest
from membench.errors import InputError
from membench.folders import atomic_writer
from membench.records import RunRecord
from membench.validation import shown

NUM_TRIALS = 8
LEARNING_RATES = (5e-4, 8e-3)
"""Smallest and largest learning rate of a search."""

SEEDS = (1000, 1001)
HORIZON = 40
TOTAL_TIMESTEPS = 120_000
NUM_PARAMETERS = 225_000
"""Of every agent tuned; `membench bench` measures at this size too."""


class Trial(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings that were tried and what came of them."""

    settings: Settings
    steps_to_solved: list[int]
    """Of every seed; twice the budget for one that did not solve the task."""

    @property
    def score(self) -> float:
        """Mean steps to solved; fewer is better."""
        return float(np.mean(self.steps_to_solved))

    @property
    def solved(self) -> list[int | None]:
        """Steps to solved of every seed; None for one that did not solve the task."""
        return [steps if steps < 2 * TOTAL_TIMESTEPS else None for steps in self.steps_to_solved]


class Tuned(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The outcome of one architecture's search."""

    command: str
    settings: Settings
    """The best trial's; none if no run of the search solved the task, for then no trial is the best."""
    trials: list[Trial]


@cache
def tuned_outcomes() -> dict[str, Tuned]:
    """Return what was found for the built-in memories."""
    return msgspec.json.decode((files("architectures") / "tuned.json").read_bytes(), type=dict[str, Tuned])


def own_settings(architecture: str) -> Settings:
    """Return the settings that runs of `architecture` start from: its class's, and those that were found."""
    outcome = tuned_outcomes().get(architecture)
    return merge(load_architecture(architecture).settings, outcome.settings if outcome else {})


def trial_settings(architecture: str) -> list[Settings]:
    """Return the settings that a search tries.

    Raises:
        InputError: for a memory with no initialisation or more of them than there are trials.
    """
    initialisations = load_architecture(architecture).initialisations
    if not 1 <= len(initialisations) <= NUM_TRIALS:
        raise InputError(
            f"architecture {architecture!r}: initialisations {shown(initialisations)}: must be from 1 to "
            f"{NUM_TRIALS} sets of options, ({{}},) where there is nothing to choose"
        )
    num_rates = NUM_TRIALS // len(initialisations)
    return [
        merge(nest("ppo.learning_rate", float(f"{rate:.2g}")), {"memory": options} if options else {})
        for rate in np.geomspace(*LEARNING_RATES, num_rates)
        for options in initialisations
    ]


def tuning_configs(architecture: str) -> list[list[RunConfig]]:
    """Return the runs of a search: one list per trial, one run per seed."""
    from membench.sizing import match_parameters  # loads PyTorch

    fixed = merge(
        load_architecture(architecture).settings,
        {"architecture": architecture, "total_timesteps": TOTAL_TIMESTEPS},
        nest("task.horizon", HORIZON),
        nest("evaluation.num_final_episodes", 128),
        nest("memory.num_layers", 1) if "num_layers" in memory_options(architecture) else {},
    )
    return [
        [
            match_parameters(build_config(merge(fixed, settings, {"seed": seed})), NUM_PARAMETERS)
            for seed in SEEDS
        ]
        for settings in trial_settings(architecture)
    ]


def outcome_of(architecture: str, records: list[RunRecord], command: str) -> Tuned:
    """Return the outcome of a search from the records of all its runs; `command` is what was typed."""
    by_id = {record.config.run_id: record for record in records}
    trials = [
        Trial(settings=settings, steps_to_solved=[_steps(by_id[config.run_id]) for config in configs])
        for settings, configs in zip(trial_settings(architecture), tuning_configs(architecture), strict=True)
    ]
    best = min(trials, key=lambda trial: trial.score)
    found = best.settings if any(best.solved) else {}
    return Tuned(command=command, settings=found, trials=trials)


def _steps(record: RunRecord) -> int:
    if record.status != "solved" or record.steps_to_solved is None:  # a run may be lost after it was solved
        return 2 * TOTAL_TIMESTEPS
    return record.steps_to_solved


def read_outcomes(path: Path) -> dict[str, Tuned]:
    """Return the outcomes that a file holds which more shall be put into; none if it is not there yet.

    Raises:
        InputError: if the file holds something else, or cannot be written.
    """
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"--into {str(path)!r}: cannot write there (its folder must be there, and writable)")
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Tuned]) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise InputError(f"--into {str(path)!r}: not a file of tuned settings ({error})") from error


def write_outcome(path: Path, architecture: str, outcome: Tuned) -> None:
    """Put the outcome of one architecture's search into a file of such outcomes, made if it is not there.

    Raises:
        InputError: if the file is there and holds something else, or cannot be written.
    """
    outcomes = read_outcomes(path) | {architecture: outcome}
    with atomic_writer(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(outcomes, order="sorted"), indent=1))
