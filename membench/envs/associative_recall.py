"""Associative recall: see key-value pairs, wait, and say which value belonged to one of the keys.

Source: Graves et al. 2014, arXiv 1410.5401, section 4.3, in the form with single-step items of Ba et al.
2016, arXiv 1610.06258, section 4.1. `num_items` pairs are shown one per step, key and value each one-hot,
every key once and in random order, the values uniform among `num_cues` and independent. `horizon` zero steps
follow, then one step shows a key and the query flag: length num_items + horizon + 1. Unlike cue memory, it
cannot be solved by a memory that merely accumulates: which value is wanted is known only at the query.

`distractors` shows further pairs during the delay, which give keys other values. The pairs that count are
those of the first `num_items` steps.
"""

import numpy as np

from membench.config import TaskConfig
from membench.envs.episodes import Episodes, OpenLoopTask


class AssociativeRecall(OpenLoopTask):
    """Show `num_items` key-value pairs, wait `horizon` steps, show one key and ask for its value."""

    name = "AssociativeRecall-v0"

    def __init__(self, config: TaskConfig):
        super().__init__(
            config,
            num_shown=config.num_items,
            num_questions=1,
            num_features=config.num_items + config.num_cues,
            recall_gap=config.horizon + config.num_items,
            has_query_flag=True,
        )

    def last_told_step(self, query: int) -> int:
        """Return the question's own step, which says which of several values is wanted."""
        return query if self.config.num_items > 1 else super().last_told_step(query)

    def draw(self, random: np.random.Generator, num_episodes: int) -> Episodes:
        """Draw episodes whose order of keys, values and asked key are uniform and independent."""
        num_pairs, num_values = self.config.num_items, self.config.num_cues
        keys = random.permuted(np.tile(np.arange(num_pairs), (num_episodes, 1)), axis=1)
        values = random.integers(num_values, size=(num_episodes, num_pairs))
        asked = random.integers(num_pairs, size=(num_episodes, 1))
        observations = self.silence(random, num_episodes)
        pairs, query = observations[:, :num_pairs], observations[:, self.query_steps]
        np.put_along_axis(pairs, keys[..., None], 1.0, axis=2)
        np.put_along_axis(pairs, num_pairs + values[..., None], 1.0, axis=2)
        np.put_along_axis(query, np.take_along_axis(keys, asked, axis=1)[..., None], 1.0, axis=2)
        self.distract(random, observations, num_pairs, num_values)
        target = np.take_along_axis(values, asked, axis=1)
        return self.ask(observations, target, self.draw_delays(random, num_episodes))
