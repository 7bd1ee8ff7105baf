"""The task family: Gymnasium environments, scalar and vector, on one engine.

`TASKS` holds each task's class under its Gymnasium id. Importing `membench.envs`
registers the ids, so that `gymnasium.make("CueMemory-v0", horizon=20)` and `gymnasium.make_vec` reach them.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import msgspec

from membench.config import TaskConfig
from membench.envs.active_t_maze import ActiveTMaze
from membench.envs.associative_recall import AssociativeRecall
from membench.envs.cue_memory import CueMemory
from membench.envs.episodes import Episodes, OpenLoopTask
from membench.envs.gym import TaskEnv, TaskVectorEnv
from membench.envs.open_loop import OpenLoopVectorEnv
from membench.envs.overwrite import Overwrite
from membench.envs.selective_recall import SelectiveRecall
from membench.envs.task import NO_QUESTION, Task
from membench.errors import InputError, unknown_name
from membench.validation import explain

__all__ = [
    "NO_QUESTION",
    "TASKS",
    "Episodes",
    "OpenLoopTask",
    "OpenLoopVectorEnv",
    "Task",
    "TaskEnv",
    "TaskVectorEnv",
    "make_task",
]

TASKS: dict[str, Callable[[TaskConfig], Task]] = {
    task.name: task for task in (CueMemory, AssociativeRecall, Overwrite, SelectiveRecall, ActiveTMaze)
}


def make_task(config: TaskConfig) -> Task:
    """Return the task that `config` describes.

    Raises:
        InputError: for a name that is not in `TASKS`, or a configuration that contradicts itself.
    """
    if config.name not in TASKS:
        raise unknown_name("task.name", config.name, TASKS)
    return TASKS[config.name](config)


def make_env(name: str, *, discrete: bool = False, **options: Any) -> TaskEnv:
    """Return the environment of the task `name`; `options` are the fields of `TaskConfig`."""
    return TaskEnv(_task_from_options(name, options), discrete=discrete)


def make_vector_env(name: str, num_envs: int = 1, *, discrete: bool = False, **options: Any) -> TaskVectorEnv:
    """Return the vector environment of the task `name`; `options` as for `make_env`, and `autoreset_mode`."""
    modes = {"autoreset_mode": options.pop("autoreset_mode")} if "autoreset_mode" in options else {}
    return _task_from_options(name, options).vector_env(num_envs, discrete=discrete, **modes)


def _task_from_options(name: str, options: dict[str, Any]) -> Task:
    try:
        return make_task(msgspec.convert({"name": name, **options}, TaskConfig))
    except msgspec.ValidationError as error:
        raise InputError(f"{name}: {explain(error, options, TaskConfig)}") from None


for _name in TASKS:
    gymnasium.register(
        _name,
        entry_point="membench.envs:make_env",
        vector_entry_point="membench.envs:make_vector_env",
        kwargs={"name": _name},
    )
