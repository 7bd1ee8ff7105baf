"""Cue memory: see cues, wait, and say what they were.

Source: the deep dive's task, a delayed match to sample. Step 0 shows one of `num_cues` cues one-hot,
`horizon` zero steps follow, and at the last step, zeros too, the agent answers: length horizon + 2.
With `num_items` K > 1, K cues are shown one after another and, after the delay, answered in the same
order: length horizon + 2 K. A last feature then flags the K query steps.
"""

import numpy as np

from membench.config import TaskConfig
from membench.envs.episodes import NO_QUESTION, Episodes, Task


class CueMemory(Task):
    """Show `num_items` cues, wait `horizon` steps, ask for them in order."""

    name = "CueMemory-v0"

    def __init__(self, config: TaskConfig):
        super().__init__(config)
        self.num_actions = config.num_cues
        self.has_query_flag = config.num_items > 1
        self.observation_size = config.num_cues + self.has_query_flag
        self.max_episode_steps = config.horizon + 2 * config.num_items
        self.recall_gap = config.horizon + config.num_items

    def draw(self, random: np.random.Generator, num_episodes: int) -> Episodes:
        """Draw episodes whose cues are uniform and independent."""
        num_items, length = self.config.num_items, self.max_episode_steps
        cues = random.integers(self.config.num_cues, size=(num_episodes, num_items))
        observations = np.zeros((num_episodes, length, self.observation_size), dtype=np.float32)
        np.put_along_axis(observations[:, :num_items], cues[..., None], 1.0, axis=2)
        if self.has_query_flag:
            observations[:, -num_items:, -1] = 1.0
        targets = np.full((num_episodes, length), NO_QUESTION)
        targets[:, -num_items:] = cues
        return Episodes(observations, targets, np.full(num_episodes, length))
