"""Records -> a frame with one row per run, from which tables and plots are made."""

from typing import Any

import msgspec
import pandas as pd

from membench.config import EVALUATIONS_IN_A_ROW, RunConfig, flatten, to_settings
from membench.envs import make_task
from membench.provenance import code_origins, machine_origins, numbered
from membench.records import RunRecord

MATCHED_SIZES = ("memory.hidden_size", "memory.feedforward_size")
"""Options that `membench.sizing` chooses to reach a number of parameters."""

TASK_COLUMNS = (
    "num_items",
    "num_cues",
    "query_flag",
    "observation_noise",
    "reveal_cue",
    "distractors",
    "min_horizon",
    "reward_delay",
)
"""Fields of the task, beside its name and horizon, that a frame has as columns."""

STRUCTURED = ("curve", "rungs", "success_at", "cue_gradient_before", "cue_gradient_after")
"""Fields of a record that are more than a number or a text, as columns of a frame at its end."""

BUDGET = ("total_timesteps", "matched_parameters", "ladder")
"""Fields of a configuration that say what a run may spend. A suite gives each task a budget of its own, so
they tell cells apart only where runs that are alike in all else differ in them."""

NOT_A_SETTING = ("architecture", "objective", "seed", "device", "num_threads")
"""Fields of a configuration that do not tell cells apart, or have a column of their own."""


def told_settings(config: RunConfig) -> dict[str, str | float | int]:
    """Return what a configuration says of the memory and how it was trained, flat: {"ppo.discount": 0.99}.

    The task, the sizes that were chosen for a number of parameters, `BUDGET` and `NOT_A_SETTING` are left
    out. What is neither a number nor a text is given as text.
    """
    told = {
        name: value if isinstance(value, str | float | int) else str(value)
        for name, value in flatten(to_settings(config)).items()
        if not name.startswith("task.") and name not in (*BUDGET, *NOT_A_SETTING) and value is not None
    }
    if config.matched_parameters is not None:
        told = {name: value for name, value in told.items() if name not in MATCHED_SIZES}
    stages = (f"{stage.horizon}:{stage.timesteps}" for stage in config.curriculum)
    return told | {"curriculum": ",".join(stages)}


def told_budget(config: RunConfig) -> dict[str, int | None]:
    """Return the fields `BUDGET` of a configuration."""
    return {name: getattr(config, name) for name in BUDGET}


def _num_answers(config: RunConfig) -> int | None:
    if config.objective == "maml":
        return None
    return config.evaluation.num_final_episodes * make_task(config.task).num_questions


def _highest_rung(config: RunConfig) -> int:
    """Return the longest horizon up to which a ladder's budget has room for the fewest rollouts per rung."""
    horizon, steps = config.task.horizon, 0
    while True:
        task = make_task(msgspec.structs.replace(config.task, horizon=horizon))
        steps += EVALUATIONS_IN_A_ROW * config.ppo.num_envs * task.max_episode_steps
        if steps > config.total_timesteps:
            return horizon // 2
        horizon *= 2


def to_frame(records: list[RunRecord]) -> pd.DataFrame:
    """Return one row per run.

    The record's plain fields; `parameters` as its total; `num_answers`, those that `success` is a share of,
    and None under MAML, where the answers within a mapping share adapted weights and are not independent;
    `device`, `objective`, `ladder`, `matched_parameters` (None where sizes were not chosen for a number of
    them), `first_horizon` (the task's, which a ladder begins at) and `highest_rung` (the longest horizon that
    a ladder's budget has room for; None of other runs) from the configuration, and
    `TASK_COLUMNS`; `settings` as `told_settings` and `budget` as `told_budget` gives them; `parts`, the
    parameters of each; the fields `STRUCTURED` as they are; `code` and `machine`, where the run comes from,
    by the numbers of `provenance.numbered`.
    """
    origins = {"code": code_origins(records), "machine": machine_origins(records)}
    numbers = {name: numbered(found, records) for name, found in origins.items()}
    plain = [
        field
        for field in RunRecord.__struct_fields__
        if field not in ("config", "versions", "machine", "parameters", *STRUCTURED)
    ]
    rows: list[dict[str, Any]] = [
        {name: getattr(record, name) for name in plain}
        | {
            "parameters": record.parameters.get("total"),
            "matched_parameters": record.config.matched_parameters,
            "device": record.config.device,
            "objective": record.config.objective,
            "ladder": record.config.ladder,
            "num_answers": _num_answers(record.config),
            "first_horizon": record.config.task.horizon,
            "highest_rung": _highest_rung(record.config) if record.config.ladder else None,
            "settings": told_settings(record.config),
            "budget": told_budget(record.config),
            "parts": record.parameters,
        }
        | {name: getattr(record.config.task, name) for name in TASK_COLUMNS}
        | {name: getattr(record, name) for name in STRUCTURED}
        | {name: numbers[name][found[place]] for name, found in origins.items()}
        for place, record in enumerate(records)
    ]
    configured = ["parameters", "device", "objective", "ladder", "num_answers", "first_horizon"]
    configured += ["matched_parameters", "highest_rung", "settings", "budget", "parts"]
    return pd.DataFrame(rows, columns=[*plain, *configured, *TASK_COLUMNS, *STRUCTURED, *origins])
