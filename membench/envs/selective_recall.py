"""Selective recall: of many cues, remember those that are marked.

Source: selective copying of Gu and Dao 2023, arXiv 2312.00752, section 4.1.1, where what is to be copied lies
at random places among what is not; and the adding problem of Hochreiter and Schmidhuber 1997, section 5.4,
where a feature of its own marks what counts. Deviations from selective copying: what does not count is drawn
from the same cues as what does, as in the adding problem; answers are actions.

Each of the first num_items + horizon steps shows one of `num_cues` cues one-hot, uniform and independent.
`num_items` K of these steps, drawn uniformly, are marked by a first feature. Then the K marked cues are
asked for in the order in which they were shown: length horizon + 2 K. A last feature flags the query steps if
there are several.
"""

import numpy as np

from membench.config import TaskConfig
from membench.envs.episodes import Episodes, OpenLoopTask, draw_places


class SelectiveRecall(OpenLoopTask):
    """Show `num_items` marked cues among `horizon` others, ask for the marked ones in order."""

    name = "SelectiveRecall-v0"

    def __init__(self, config: TaskConfig):
        super().__init__(
            config,
            num_shown=config.num_items,
            num_questions=config.num_items,
            num_features=1 + config.num_cues,
            recall_gap=config.horizon + config.num_items,
        )
        self.refuse(distractors=0.0, observation_noise=0.0)

    def last_told_step(self, query: int) -> int:
        """Return the last step that may show the first of the marked cues."""
        return query - self.config.num_items

    def draw(self, random: np.random.Generator, num_episodes: int) -> Episodes:
        """Draw episodes whose cues, and the steps that are marked, are uniform and independent."""
        num_items, num_shown = self.config.num_items, self.delay_steps.stop
        delays = self.draw_delays(random, num_episodes)
        cues = random.integers(self.num_actions, size=(num_episodes, num_shown))
        marked = draw_places(random, num_items, num_items + delays)
        observations = self.silence(random, num_episodes)
        np.put_along_axis(observations[:, :num_shown], 1 + cues[..., None], 1.0, axis=2)
        np.put_along_axis(observations[..., 0], marked, 1.0, axis=1)
        return self.ask(observations, np.take_along_axis(cues, marked, axis=1), delays)
