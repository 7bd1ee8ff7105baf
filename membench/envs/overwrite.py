"""Overwrite: see one cue after another, and say which came last.

Source: the memory rewriting of Shchendrigin et al. 2026, arXiv 2601.15086, in whose Endless T-Maze every
corridor has a cue of its own and asks for it at its end, so that each cue makes the one before worthless.
Here, too, only the latest cue counts. Deviations: nobody walks; the agent is asked once, at the end of the
episode, and not after every cue; there are `num_cues` cues, not two directions.

Step 0 shows a cue one-hot, and `horizon` steps of delay follow. `num_items` - 1 further cues are shown at
distinct steps of the delay, drawn uniformly; all others are zeros, so that a cue is told from silence. Cues
are uniform and independent. At the last step, zeros too, the agent answers: length horizon + 2.
"""

import numpy as np

from membench.config import TaskConfig
from membench.envs.episodes import Episodes, OpenLoopTask, draw_places
from membench.errors import InputError


class Overwrite(OpenLoopTask):
    """Show `num_items` cues, all but the first somewhere in a delay of `horizon` steps, ask for the last."""

    name = "Overwrite-v0"

    def __init__(self, config: TaskConfig):
        num_further = config.num_items - 1
        super().__init__(
            config,
            num_shown=1,
            num_questions=1,
            num_features=config.num_cues,
            recall_gap=config.horizon + 1 - num_further,
        )
        self.refuse(distractors=0.0)
        if num_further > self.shortest_delay:
            raise InputError(
                f"task.num_items {config.num_items}: {self.name} shows all but the first during the delay; "
                f"must be at most 1 + the shortest delay, {1 + self.shortest_delay}"
            )

    def last_told_step(self, query: int) -> int:
        """Return the last step of the delay, which may show the cue that counts."""
        return query - 1 if self.config.num_items > 1 else super().last_told_step(query)

    def draw(self, random: np.random.Generator, num_episodes: int) -> Episodes:
        """Draw episodes whose cues, and the steps that show them, are uniform and independent."""
        delays = self.draw_delays(random, num_episodes)
        cues = random.integers(self.num_actions, size=(num_episodes, self.config.num_items))
        steps = np.zeros_like(cues)
        steps[:, 1:] = 1 + draw_places(random, self.config.num_items - 1, delays)
        observations = self.silence(random, num_episodes)
        np.put_along_axis(observations, steps[..., None], 0.0, axis=1)
        observations[np.arange(num_episodes)[:, None], steps, cues] = 1.0
        return self.ask(observations, cues[:, -1:], delays)
