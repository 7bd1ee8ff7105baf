"""One run: `train(RunConfig) -> RunRecord`. Composition only; the parts live in their own modules."""

import io
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from membench import describe
from membench.agent import Agent, build_agent
from membench.checkpoints import Checkpoint, serialised
from membench.compiler import leave_compiler_out
from membench.config import RunConfig
from membench.devices import denormals_as_zero, prepare_process
from membench.envs import Task, make_task
from membench.errors import InputError
from membench.folders import atomic_writer
from membench.ladder import LadderTraining
from membench.maml import MetaTraining
from membench.ppo import DivergenceError
from membench.records import RunRecord, Status
from membench.training import Progress, Training
from membench.untrusted import read_file
from membench.validation import LONGEST_COMPLAINT


def train(
    config: RunConfig,
    *,
    weights: Path | None = None,
    started: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Train one agent and return what came of it.

    Args:
        config: what to do; the same config gives the same record on the same machine, timings and memory
            aside.
        weights: where to save the final weights (a state dict, for `load_agent`).
        started: the `time.time()` that seconds count from; None means now.
        on_progress: called after every update.
        checkpoint: what to resume from, if it is there, and to write as the run goes; removing it is left to
            whoever keeps the record. A resumed run gives the same record as one without a break.

    Raises:
        InputError: for a configuration that cannot be carried out here.
        Interrupted: if the checkpoint was asked to end the run.
    """
    started = time.time() if started is None else started
    prepare_process(config)
    leave_compiler_out()
    begin = partial(_kind_of_training(config), config, started)
    training = begin() if checkpoint is None else checkpoint.resume(begin)
    if training.steps == 0:
        training.note_cue_gradient()

    def after_update(progress: Progress) -> None:
        on_progress(progress)
        if checkpoint is not None:
            checkpoint.keep(training)

    status, error = "unsolved", None
    with denormals_as_zero():
        try:
            training.run(after_update)
        except DivergenceError as divergence:
            status, error = "diverged", f"after {training.steps} steps: {divergence}"
        if status == "unsolved" and training.solved.steps is not None:
            status = "solved"
        record = _record(training, status, error)
    if weights is not None:
        state = {name: tensor.cpu() for name, tensor in training.agent.state_dict().items()}
        with atomic_writer(weights) as file:
            file.write(serialised(state))
    return record


def _kind_of_training(config: RunConfig) -> type[Training]:
    if config.objective == "maml":
        return MetaTraining
    return LadderTraining if config.ladder else Training


def load_agent(config: RunConfig, weights: Path) -> Agent:
    """Build the agent of `config` and give it the weights that `train` saved.

    Those of a ladder are the ones that solved its longest horizon; `agent.make_room_for` that task before
    acting in it.

    Raises:
        InputError: naming the file, if it holds no weights of such an agent.
    """
    agent, content = build_agent(config, make_task(config.task)), io.BytesIO(read_file(weights))
    try:
        agent.load_state_dict(torch.load(content, weights_only=True))
    except Exception as error:  # whatever comes of bytes that are no weights, or not these
        found = textwrap.shorten(str(error), LONGEST_COMPLAINT, placeholder="…")
        raise InputError(
            f"{weights}: not the weights of this {config.architecture} ({type(error).__name__}: {found})"
        ) from error
    return agent


def failed_record(config: RunConfig, error: str) -> RunRecord:
    """Return the record of a run that an error ended."""
    return RunRecord(**_identity(config, make_task(config.task)), status="failed", error=error)


def _record(training: Training, status: Status, error: str | None) -> RunRecord:
    """Examine the final policy and return the record of the run.

    State and operations are those of a memory with room for the task alone: what it was examined on, or a
    ladder's next rung, may have taken more.
    """
    config, agent = training.config, training.agent
    horizon = training.horizon
    first = make_task(config.task)
    examined = make_task(msgspec.structs.replace(config.task, horizon=training.frontier or horizon))
    finite = all(parameter.isfinite().all() for parameter in agent.parameters())
    outcome = training.finish()._asdict() if finite else {}
    identity = _identity(config, examined) | {"horizon": horizon}
    with_room = build_agent(config, first)
    with_room.make_room_for(examined)
    return RunRecord(
        **identity,
        **outcome,
        status=status,
        error=error,
        cue_gradient_before=training.cue_gradient_before,
        frontier=training.frontier,
        rungs=training.rungs,
        steps=training.steps,
        evaluation_steps=training.evaluation_steps,
        steps_to_solved=training.solved.steps,
        seconds_to_solved=training.solved.seconds,
        steps_to_sampled_95=training.sampled_95.steps,
        seconds_to_sampled_95=training.sampled_95.seconds,
        seconds=training.seconds,
        cpu_seconds=training.usage.cpu_seconds,
        steps_per_second=training.steps / training.training_seconds if training.steps else None,
        peak_memory_bytes=training.usage.peak_memory_bytes,
        parameters=describe.count_parameters(agent),
        state_bytes=describe.state_bytes(with_room.memory),
        kernels=sorted(agent.memory.kernels),
        flops_per_step=describe.flops_per_step(build_agent(config, first).memory, first.max_episode_steps),
        curve=training.curve,
    )


def _identity(config: RunConfig, task: Task) -> dict[str, Any]:
    """Return the fields of a record that are known before training."""
    return {
        "run_id": config.run_id,
        "architecture": config.architecture,
        "task": config.task.name,
        "horizon": config.task.horizon,
        "seed": config.seed,
        "recall_gap": task.recall_gap,
        "chance": task.chance,
        "config": config,
        "versions": describe.versions(config.architecture),
        "machine": describe.machine(config.device),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
