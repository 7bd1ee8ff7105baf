"""Where runs are carried out, and what is asked of that place: nothing here changes what comes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

ExecutorName = Literal["local", "ray", "slurm"]
EXECUTORS: tuple[str, ...] = get_args(ExecutorName)


@dataclass(frozen=True)
class Engine:
    """What carries runs out."""

    executor: ExecutorName = "local"
    """Processes of this machine, tasks of a Ray cluster, or jobs of Slurm."""
    num_jobs: int | None = None
    """Runs side by side; None for as many as the executor has room for."""
    shard: tuple[int, int] = (1, 1)
    """Which part of the runs this program does, from 1 on, and of how many."""
    ray_address: str | None = None
    """Of the running cluster; None takes that of RAY_ADDRESS, or else the one that runs on this machine."""
    ray_gpus: float = 1.0
    """Share of a GPU that a run on a CUDA device asks of Ray."""
    slurm: Mapping[str, Any] = field(default_factory=dict)
    """What is asked of Slurm, by submitit's names, and where submitit keeps its `folder`."""


LOCAL = Engine()
