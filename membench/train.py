"""One run: `train(RunConfig) -> RunRecord`. Composition only; the parts live in their own modules."""

import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from gymnasium.vector import AutoresetMode

from membench import describe, records, schedules
from membench.agent import Agent, build_agent
from membench.config import RunConfig
from membench.envs import Task, TaskVectorEnv, make_task
from membench.errors import InputError
from membench.ppo import DivergenceError, UpdateStatistics, update
from membench.records import CurvePoint, RunRecord, Status
from membench.rollout import Rollout, collect, draw_noise

TRAINING_WINDOW = 320
"""Training episodes that `train_success` and `steps_to_sampled_95` look back on."""

EVALUATIONS_IN_A_ROW = 2


class Progress(NamedTuple):
    """Where a run stands, for whoever watches it."""

    steps: int
    total_timesteps: int
    success: float | None
    """Greedy, at the last evaluation."""
    train_success: float | None


class RandomStreams:
    """Independent random streams of one run; what one of them draws never depends on another."""

    def __init__(self, seed: int):
        names = ("initialisation", "rollouts", "actions", "minibatches", "evaluations", "final")
        children = dict(zip(names, np.random.SeedSequence(seed).spawn(len(names)), strict=True))
        self.initialisation = int(children["initialisation"].generate_state(1)[0])
        self.rollouts, self.evaluations, self.final = (
            _seeds(children[name]) for name in ("rollouts", "evaluations", "final")
        )
        self.actions, self.minibatches = (
            torch.Generator().manual_seed(int(children[name].generate_state(1)[0]))
            for name in ("actions", "minibatches")
        )


def _seeds(sequence: np.random.SeedSequence) -> Iterator[int]:
    random = np.random.default_rng(sequence)
    while True:
        yield int(random.integers(2**31))


class SuccessWindow:
    """Share of right answers over the latest training episodes."""

    def __init__(self) -> None:
        self._episodes: deque[tuple[int, int]] = deque(maxlen=TRAINING_WINDOW)

    def add(self, rollout: Rollout) -> None:
        """Take in the episodes of a rollout."""
        self._episodes.extend(
            zip(rollout.correct.sum(1).tolist(), rollout.asked.sum(1).tolist(), strict=True)
        )

    @property
    def is_full(self) -> bool:
        """Whether as many episodes as the window holds have been seen."""
        return len(self._episodes) == TRAINING_WINDOW

    @property
    def success(self) -> float:
        """Right answers / questions."""
        correct, asked = (sum(counts) for counts in zip(*self._episodes, strict=True))
        return correct / asked


@dataclass
class Milestone:
    """The first time that something held."""

    steps: int | None = None
    seconds: float | None = None

    def reach(self, steps: int, seconds: float) -> None:
        """Note where training stands, unless the milestone was reached before."""
        if self.steps is None:
            self.steps, self.seconds = steps, seconds


class Training:
    """A run under way: the agent, its optimiser, its random streams, and what was measured so far."""

    def __init__(self, config: RunConfig, started: float):
        self.config, self.started = config, started
        self.task = make_task(config.task)
        self.random = RandomStreams(config.seed)
        torch.manual_seed(self.random.initialisation)
        self.agent: Agent = build_agent(config, self.task).to(config.device)
        self.optimizer = torch.optim.AdamW(
            self.agent.parameters(),
            lr=config.ppo.learning_rate,
            eps=1e-5,
            weight_decay=config.ppo.weight_decay,
            fused=True,
        )
        self.envs = self._envs(config.ppo.num_envs)
        self.training_seconds = 0.0
        self.steps = self.evaluation_steps = 0
        self.window = SuccessWindow()
        self.solved, self.sampled_95 = Milestone(), Milestone()
        self.curve: list[CurvePoint] = []

    def _envs(self, num_envs: int) -> TaskVectorEnv:
        return TaskVectorEnv(
            self.task, num_envs, discrete=self.agent.head.discrete, autoreset_mode=AutoresetMode.DISABLED
        )

    @property
    def seconds(self) -> float:
        """Seconds since the run started."""
        return time.time() - self.started

    @property
    def is_finished(self) -> bool:
        """Whether the budget is spent or, where that ends the run, the task solved."""
        solved = self.solved.steps is not None and self.config.evaluation.stop_when_solved
        return solved or self.steps >= self.config.total_timesteps

    def iterate(self) -> UpdateStatistics:
        """Collect one rollout and learn from it."""
        before, config = time.perf_counter(), self.config.ppo
        progress = min(1.0, self.steps / self.config.total_timesteps)
        for group in self.optimizer.param_groups:
            group["lr"] = schedules.learning_rate(
                config.learning_rate_schedule, config.learning_rate, progress
            )
        noise = draw_noise(self.agent, self.envs, self.random.actions)
        rollout = collect(self.agent, self.envs, seed=next(self.random.rollouts), noise=noise)
        statistics = update(
            self.agent,
            self.optimizer,
            rollout,
            config,
            entropy_coefficient=schedules.geometric(config.entropy_start, config.entropy_end, progress),
            generator=self.random.minibatches,
        )
        self.steps += rollout.num_steps
        self.training_seconds += time.perf_counter() - before
        self.window.add(rollout)
        if self.window.is_full and self.window.success >= 0.95:
            self.sampled_95.reach(self.steps, self.seconds)
        return statistics

    def examine(self, num_episodes: int, seeds: Iterator[int]) -> float:
        """Return the greedy policy's success on fresh episodes."""
        envs = self._envs(num_episodes)
        rollout = collect(self.agent, envs, seed=next(seeds), noise=draw_noise(self.agent, envs, None))
        self.evaluation_steps += rollout.num_steps
        return rollout.success

    def evaluate(self, statistics: UpdateStatistics) -> None:
        """Add a point to the learning curve and see whether the task is solved."""
        evaluation = self.config.evaluation
        success = self.examine(evaluation.num_episodes, self.random.evaluations)
        self.curve.append(
            CurvePoint(
                steps=self.steps,
                seconds=self.seconds,
                success=success,
                train_success=self.window.success,
                learning_rate=self.optimizer.param_groups[0]["lr"],
                entropy=statistics.entropy,
                kl=statistics.kl,
                clip_fraction=statistics.clip_fraction,
                grad_norm=statistics.grad_norm,
                explained_variance=statistics.explained_variance,
            )
        )
        latest = self.curve[-EVALUATIONS_IN_A_ROW:]
        if len(latest) == EVALUATIONS_IN_A_ROW and all(
            point.success >= evaluation.solved_at for point in latest
        ):
            self.solved.reach(self.steps, self.seconds)

    def run(self, on_progress: Callable[[Progress], None]) -> None:
        """Train until finished, evaluating whenever another interval of training steps has passed."""
        next_evaluation = self.config.evaluation.interval
        while not self.is_finished:
            statistics = self.iterate()
            if self.steps >= next_evaluation or self.steps >= self.config.total_timesteps:
                self.evaluate(statistics)
                next_evaluation = (
                    self.steps // self.config.evaluation.interval + 1
                ) * self.config.evaluation.interval
            on_progress(self.progress)

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        success = self.curve[-1].success if self.curve else None
        return Progress(self.steps, self.config.total_timesteps, success, self.window.success)

    def record(self, status: Status, error: str | None) -> RunRecord:
        """Examine the final policy and return the record of the run."""
        config = self.config
        finite = all(parameter.isfinite().all() for parameter in self.agent.parameters())
        success = self.examine(config.evaluation.num_final_episodes, self.random.final) if finite else None
        return RunRecord(
            **_identity(config, self.task),
            status=status,
            error=error,
            success=success,
            train_success=self.window.success if self.steps else None,
            steps=self.steps,
            evaluation_steps=self.evaluation_steps,
            steps_to_solved=self.solved.steps,
            seconds_to_solved=self.solved.seconds,
            steps_to_sampled_95=self.sampled_95.steps,
            seconds_to_sampled_95=self.sampled_95.seconds,
            seconds=self.seconds,
            cpu_seconds=time.process_time(),
            steps_per_second=self.steps / self.training_seconds if self.steps else None,
            peak_memory_bytes=_peak_memory_bytes(config.device),
            parameters=describe.count_parameters(self.agent),
            state_bytes=describe.state_bytes(self.agent.memory),
            curve=self.curve,
        )


def train(
    config: RunConfig,
    *,
    weights: Path | None = None,
    started: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> RunRecord:
    """Train one agent and return what came of it.

    Args:
        config: what to do; the same config gives the same record on the same machine, timings and memory
            aside.
        weights: where to save the final weights (a state dict, for `load_agent`).
        started: the `time.time()` that seconds count from; None means now.
        on_progress: called after every update.

    Raises:
        InputError: for a configuration that cannot be carried out here.
    """
    started = time.time() if started is None else started
    if config.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"device {config.device!r}: no CUDA device here (legal: cpu)")
    torch.set_num_threads(config.num_threads)
    training = Training(config, started)
    status, error = "unsolved", None
    try:
        training.run(on_progress)
    except DivergenceError as divergence:
        status, error = "diverged", f"after {training.steps} steps: {divergence}"
    if status == "unsolved" and training.solved.steps is not None:
        status = "solved"
    record = training.record(status, error)
    if weights is not None:
        with records.atomic_writer(weights) as file:
            torch.save({name: tensor.cpu() for name, tensor in training.agent.state_dict().items()}, file)
    return record


def load_agent(config: RunConfig, weights: Path) -> Agent:
    """Build the agent of `config` and give it the weights that `train` saved."""
    agent = build_agent(config, make_task(config.task))
    agent.load_state_dict(torch.load(weights, weights_only=True))
    return agent


def failed_record(config: RunConfig, error: str) -> RunRecord:
    """Return the record of a run that an error ended."""
    return RunRecord(**_identity(config, make_task(config.task)), status="failed", error=error)


def process_started() -> float:
    """Return the `time.time()` at which this process started."""
    return psutil.Process().create_time()


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
        "versions": describe.versions(),
        "machine": describe.machine(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _peak_memory_bytes(device: str) -> int:
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
