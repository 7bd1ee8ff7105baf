"""The horizon ladder: double the horizon whenever it is solved, until the budget is spent."""

from collections.abc import Callable
from typing import Any

import msgspec
from torch import Tensor

from membench.config import EVALUATIONS_IN_A_ROW, RunConfig
from membench.envs import make_task
from membench.errors import InputError
from membench.records import Rung
from membench.training import Examination, Milestone, Progress, Training

SCREEN = 0.9
"""Success in the latest training rollout from which an evaluation is worth its time."""


class LadderTraining(Training):
    """A run that climbs: `task` is the rung that it stands on.

    A rung is solved as a task is, by evaluations in a row; as these cost more than training at a long
    horizon, one is made only after a rollout that passes a screen, and two have an update between them.
    """

    def __init__(self, config: RunConfig, started: float):
        super().__init__(config, started)
        self._weights_at_frontier: dict[str, Tensor] = {}
        if self.is_finished:
            raise InputError(
                f"total_timesteps {config.total_timesteps}: a ladder from horizon {self.horizon} needs at "
                f"least {self._steps_of_next_rollout}, one rollout"
            )

    @property
    def is_finished(self) -> bool:
        """Whether the budget has no room for another rollout; at a long horizon one takes much of it."""
        return self.steps + self._steps_of_next_rollout > self.config.total_timesteps

    @property
    def _steps_of_next_rollout(self) -> int:
        return self.envs.num_envs * self.envs.task.max_episode_steps

    @property
    def horizon(self) -> int:
        """The rung that is tried."""
        return self.envs.task.config.horizon

    def run(self, on_progress: Callable[[Progress], None]) -> None:
        """Climb until the budget is spent; no rung is solved with more."""
        while not self.is_finished:
            statistics = self.iterate()
            if self.rollout_success >= SCREEN:
                self.evaluate(statistics)
                if self.is_solved:
                    self._climb()
            on_progress(self.progress)

    @property
    def is_solved(self) -> bool:
        """Whether the rung is solved."""
        latest = self.curve[-EVALUATIONS_IN_A_ROW:]
        return super().is_solved and all(point.horizon == self.task.config.horizon for point in latest)

    def _climb(self) -> None:
        """Note the rung as solved and step on the next one."""
        horizon = self.task.config.horizon
        rung = Rung(horizon=horizon, steps=self.steps, seconds=self.seconds)
        self.rungs.append(rung)
        self.solved = Milestone(rung.steps, rung.seconds)
        self._weights_at_frontier = {name: tensor.clone() for name, tensor in self.agent.state_dict().items()}
        self._stand_on(2 * horizon)
        self.train_at(2 * horizon)

    def _stand_on(self, horizon: int) -> None:
        self.task = make_task(msgspec.structs.replace(self.config.task, horizon=horizon))
        self.agent.make_room_for(self.task)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of a run, and the weights that solved the longest rung."""
        return super().state_dict() | {"weights_at_frontier": self._weights_at_frontier}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, on the rung that was tried then."""
        super().load_state_dict(state)
        self._stand_on(self.horizon)
        self._weights_at_frontier = state["weights_at_frontier"]

    def finish(self) -> Examination:
        """Go back to the longest rung that was solved, with the weights that solved it, and examine it anew.

        `train_success`, too, is taken there, from fresh episodes: training has gone on at another rung.
        """
        if self.frontier is not None:
            self._stand_on(self.frontier)
            self.agent.load_state_dict(self._weights_at_frontier)
        examination = super().finish()
        return examination._replace(train_success=examination.sampled_success)
