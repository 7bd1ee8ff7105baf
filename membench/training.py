"""A run under way: the agent, its optimiser, its random streams, and what was measured so far."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import msgspec
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from membench import ppo, schedules, supervised
from membench.agent import Agent, build_agent
from membench.config import EVALUATIONS_IN_A_ROW, RunConfig
from membench.diagnosis import cue_gradient
from membench.envs import Task, TaskVectorEnv, make_task
from membench.inspect.utilisation import Utilisation, utilisation_at_end
from membench.milestones import Milestone, SuccessWindow
from membench.ppo import UpdateStatistics
from membench.records import CueGradient, CurvePoint, Rung
from membench.rollout import Rollout, collect, draw_noise
from membench.streams import RandomStreams
from membench.usage import Usage

NUM_WATCHED = 8
"""Episodes that utilisation is measured on, the same ones at every evaluation."""

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """Where a run stands, for whoever watches it."""

    steps: int
    total_timesteps: int
    horizon: int
    success: float | None
    """Greedy, at the last evaluation."""
    train_success: float | None


class Examination(NamedTuple):
    """What a finished run is worth, as shares of right answers."""

    success: float
    """Greedy policy, fresh episodes."""
    sampled_success: float
    """Sampled policy, fresh episodes."""
    train_success: float | None
    """Sampled policy, the latest training episodes."""
    success_at: dict[int, float]
    """Greedy policy, fresh episodes of other horizons."""
    cue_gradient_after: CueGradient | None


class Training:
    """A run under way: the agent, its optimiser, its random streams, and what was measured so far."""

    def __init__(self, config: RunConfig, started: float):
        self.config, self.usage = config, Usage(config.device, started)
        self.task = make_task(config.task)
        self.random = RandomStreams(config.seed)
        torch.manual_seed(self.random.initialisation)
        self.agent: Agent = build_agent(config, self.task).to(config.device)
        if config.compute.compile:
            self.agent.memory.compile()  # in place: the weights keep their names
        self.envs = self._envs(self.task, config.ppo.num_envs)
        self.optimizer = torch.optim.AdamW(
            self.agent.parameters(),
            lr=config.ppo.learning_rate,
            eps=1e-5,
            weight_decay=config.ppo.weight_decay,
            fused=True,
        )
        self.training_seconds = 0.0
        self.steps = self.evaluation_steps = 0
        self.window = SuccessWindow()
        self.solved, self.sampled_95 = Milestone(), Milestone()
        self.curve: list[CurvePoint] = []
        self.rungs: list[Rung] = []
        self.cue_gradient_before: CueGradient | None = None
        self.rollout_success = 0.0
        """Share of right answers in the latest rollout."""

    def note_cue_gradient(self) -> None:
        """Note how much gradient reaches the cue before the first update."""
        self.cue_gradient_before = cue_gradient(self.agent, self.task, self.config.ppo)

    def _envs(self, task: Task, num_envs: int) -> TaskVectorEnv:
        return task.vector_env(
            num_envs, discrete=self.agent.head.discrete, autoreset_mode=AutoresetMode.DISABLED
        )

    def train_at(self, horizon: int) -> None:
        """Go on training at `horizon`."""
        if horizon != self.envs.task.config.horizon:
            task = make_task(msgspec.structs.replace(self.config.task, horizon=horizon))
            self.agent.make_room_for(task)
            self.envs = self._envs(task, self.config.ppo.num_envs)
            self.window = SuccessWindow()

    @property
    def horizon(self) -> int:
        """The horizon that is to be solved."""
        return self.task.config.horizon

    @property
    def frontier(self) -> int | None:
        """The longest horizon solved on a ladder; None without one."""
        return self.rungs[-1].horizon if self.rungs else None

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken so far."""
        return self.usage.seconds

    @property
    def is_finished(self) -> bool:
        """Whether the budget is spent or, where that ends the run, the policy is settled."""
        return self.steps >= self.config.total_timesteps or (
            self.config.evaluation.stop_when_solved and self.is_settled
        )

    @property
    def is_settled(self) -> bool:
        """Whether the policy was just found to solve the task, and its sampled answers are right, too.

        Just, for one more update may undo what an earlier evaluation found.
        """
        just_evaluated = bool(self.curve) and self.curve[-1].steps == self.steps
        return just_evaluated and self.is_solved and self._answers_are_right

    @property
    def _answers_are_right(self) -> bool:
        """Whether sampled answers are right often enough at the horizon that is to be solved."""
        return self.window.is_good and self.envs.task.config.horizon == self.horizon

    def iterate(self) -> UpdateStatistics:
        """Collect training episodes and learn from them, by the schedules."""
        before, config = time.perf_counter(), self.config.ppo
        if self.config.curriculum:
            self.train_at(schedules.stage_horizon(self.config.curriculum, self.steps))
        progress = min(1.0, self.steps / self.config.total_timesteps)
        for group in self.optimizer.param_groups:
            group["lr"] = schedules.learning_rate(
                config.learning_rate_schedule, config.learning_rate, progress
            )
        statistics = self._practise(progress)
        self.training_seconds += time.perf_counter() - before
        return statistics

    def _practise(self, progress: float) -> UpdateStatistics:
        """Collect one rollout and learn from it, `progress` into the budget."""
        noise = draw_noise(self.agent, self.envs, self.random.actions)
        rollout = collect(self.agent, self.envs, seed=next(self.random.rollouts), noise=noise)
        statistics = self._learn(rollout, progress)
        self._note(rollout.correct, rollout.asked, rollout.num_steps)
        return statistics

    def _note(self, correct: Tensor, asked: Tensor, num_steps: int) -> None:
        """Take in what came of training episodes [b t] of so many steps."""
        self.rollout_success = float(correct.sum() / asked.sum())
        self.steps += num_steps
        self.window.add(correct, asked)
        if self._answers_are_right:
            self.sampled_95.reach(self.steps, self.seconds)

    def _learn(self, rollout: Rollout, progress: float) -> UpdateStatistics:
        config = self.config.ppo
        if self.config.objective == "supervised":
            return supervised.update(
                self.agent, self.optimizer, rollout, config, generator=self.random.minibatches
            )
        return ppo.update(
            self.agent,
            self.optimizer,
            rollout,
            config,
            entropy_coefficient=schedules.geometric(config.entropy_start, config.entropy_end, progress),
            generator=self.random.minibatches,
        )

    def examine(
        self, num_episodes: int, seeds: Iterator[int], generator: torch.Generator | None = None
    ) -> float:
        """Return success on fresh episodes: the greedy policy's or, with a generator, the sampled one's."""
        return self._examine_on(self.task, num_episodes, seeds, generator)

    def _examine_on(
        self, task: Task, num_episodes: int, seeds: Iterator[int], generator: torch.Generator | None = None
    ) -> float:
        envs = self._envs(task, num_episodes)
        rollout = collect(self.agent, envs, seed=next(seeds), noise=draw_noise(self.agent, envs, generator))
        self.evaluation_steps += rollout.num_steps
        return rollout.success

    def evaluate(self, statistics: UpdateStatistics) -> None:
        """Add a point to the learning curve and see whether the task is solved."""
        evaluation = self.config.evaluation
        success = self.examine(evaluation.num_episodes, self.random.evaluations)
        used = self.utilisation
        self.curve.append(
            CurvePoint(
                steps=self.steps,
                seconds=self.seconds,
                horizon=self.envs.task.config.horizon,
                success=success,
                train_success=self.window.success,
                learning_rate=self.optimizer.param_groups[0]["lr"],
                entropy=statistics.entropy,
                kl=statistics.kl,
                clip_fraction=statistics.clip_fraction,
                grad_norm=statistics.grad_norm,
                explained_variance=statistics.explained_variance,
                memory_norm=used.norm if math.isfinite(used.norm) else None,
                memory_saturation=used.saturation,
            )
        )
        log.info("%s steps: success %.3f at horizon %d", f"{self.steps:,}", success, self.curve[-1].horizon)
        if self.is_solved:
            self.solved.reach(self.steps, self.seconds)

    @property
    def utilisation(self) -> Utilisation:
        """How full the memory is at the end of some episodes; no random stream is drawn on for it."""
        envs = self._envs(self.task, NUM_WATCHED)
        rollout = collect(self.agent, envs, seed=0, noise=draw_noise(self.agent, envs, None))
        shortest = int(rollout.mask.sum(1).min())
        x = rollout.observations[:, :shortest] * self.agent.observation_scale
        return utilisation_at_end(self.agent.memory, x)

    @property
    def is_solved(self) -> bool:
        """Whether enough evaluations in a row, the latest among them, were good enough."""
        latest = self.curve[-EVALUATIONS_IN_A_ROW:]
        return len(latest) == EVALUATIONS_IN_A_ROW and all(
            point.success >= self.config.evaluation.solved_at for point in latest
        )

    def run(self, on_progress: Callable[[Progress], None]) -> None:
        """Train until finished, evaluating whenever another interval of training steps has passed."""
        while not self.is_finished:
            statistics = self.iterate()
            if self.steps >= self._next_evaluation or self.steps >= self.config.total_timesteps:
                self.evaluate(statistics)
            on_progress(self.progress)

    @property
    def _next_evaluation(self) -> int:
        interval, latest = self.config.evaluation.interval, self.curve[-1].steps if self.curve else 0
        return (latest // interval + 1) * interval

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        success = self.curve[-1].success if self.curve else None
        return Progress(self.steps, self.config.total_timesteps, self.horizon, success, self.window.success)

    def finish(self) -> Examination:
        """Examine the final policy."""
        num_episodes, random = self.config.evaluation.num_final_episodes, self.random
        return Examination(
            success=self.examine(num_episodes, random.final),
            sampled_success=self.examine(num_episodes, random.final, random.final_actions),
            train_success=self.window.success,
            success_at={
                horizon: self._examine_at(horizon, num_episodes)
                for horizon in self.config.evaluation.horizons
            },
            cue_gradient_after=cue_gradient(self.agent, self.task, self.config.ppo),
        )

    def _examine_at(self, horizon: int, num_episodes: int) -> float:
        """Return the greedy policy's success on fresh episodes of another horizon."""
        task = make_task(msgspec.structs.replace(self.config.task, horizon=horizon))
        self.agent.make_room_for(task)
        return self._examine_on(task, num_episodes, self.random.final)

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to go on from between two updates, bit for bit.

        Tensors, numbers and text alone. No environment outlives an update: each rollout and each evaluation
        draws its episodes from a seed of its own. Schedules and curricula follow from the steps.
        """
        return {
            "agent": self.agent.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.state_dict(),
            "usage": self.usage.state_dict(),
            "horizon": self.envs.task.config.horizon,
            "training_seconds": self.training_seconds,
            "steps": self.steps,
            "evaluation_steps": self.evaluation_steps,
            "window": self.window.episodes,
            "solved": asdict(self.solved),
            "sampled_95": asdict(self.sampled_95),
            "curve": msgspec.to_builtins(self.curve),
            "rungs": msgspec.to_builtins(self.rungs),
            "rollout_success": self.rollout_success,
            "cue_gradient_before": msgspec.to_builtins(self.cue_gradient_before),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, from a run of the same configuration."""
        for name in ("agent", "optimizer", "random", "usage"):
            getattr(self, name).load_state_dict(state[name])
        self.train_at(state["horizon"])
        for name in ("training_seconds", "steps", "evaluation_steps", "rollout_success"):
            setattr(self, name, state[name])
        self.window = SuccessWindow(state["window"])
        self.solved, self.sampled_95 = Milestone(**state["solved"]), Milestone(**state["sampled_95"])
        self.curve = msgspec.convert(state["curve"], list[CurvePoint])
        self.rungs = msgspec.convert(state["rungs"], list[Rung])
        self.cue_gradient_before = msgspec.convert(state["cue_gradient_before"], CueGradient | None)
