"""Cue memory: see cues, wait, and say what they were.

Source: the deep dive's task, a delayed match to sample. Step 0 shows one of `num_cues` cues one-hot,
`horizon` zero steps follow, and at the last step, zeros too, the agent answers: length horizon + 2.
With `num_items` K > 1, K cues are shown one after another and, after the delay, answered in the same
order: length horizon + 2 K. A last feature then flags the K query steps.

`distractors` shows further cues during the delay. Nothing marks them: the cues that count are those of the
first K steps, and the delay begins when they have been shown.
"""

import numpy as np

from membench.config import TaskConfig
from membench.envs.episodes import Episodes, OpenLoopTask


class CueMemory(OpenLoopTask):
    """Show `num_items` cues, wait `horizon` steps, ask for them in order."""

    name = "CueMemory-v0"
    cue_step = 0

    def __init__(self, config: TaskConfig):
        super().__init__(
            config,
            num_shown=config.num_items,
            num_questions=config.num_items,
            num_features=config.num_cues,
            recall_gap=config.horizon + config.num_items,
        )

    def draw(self, random: np.random.Generator, num_episodes: int) -> Episodes:
        """Draw episodes whose cues are uniform and independent."""
        num_items, num_cues = self.config.num_items, self.config.num_cues
        cues = random.integers(num_cues, size=(num_episodes, num_items))
        observations = self.silence(random, num_episodes)
        np.put_along_axis(observations[:, :num_items], cues[..., None], 1.0, axis=2)
        self.distract(random, observations, num_cues)
        return self.ask(observations, cues, self.draw_delays(random, num_episodes))
