"""Collect episodes, one per environment: step by step, or in one go where the task allows it.

Axes: b episode, t step. Rows are right-padded; `Rollout.mask` marks what is real. Rows never hold more
than one episode, so no memory needs to know where an episode ends.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from membench.agent import Agent
from membench.envs import NO_QUESTION, OpenLoopVectorEnv
from membench.errors import InputError

STEPS_PER_FORWARD = 2**18
"""Steps run through the memory at once when no gradients are needed; bounds memory, changes no result beyond
rounding."""


@dataclass(frozen=True)
class Rollout:
    """A batch of whole episodes.

    Attributes:
        observations: [b t i].
        actions: [b t] integers or [b t a] real numbers.
        log_probs, values, rewards: [b t], as the acting policy saw them.
        mask: [b t] True for steps that belong to the episode.
        bootstrap: [b] value of the state after the last step of a truncated episode, 0 of a terminated one.
        targets: [b t] the right answer where a step asked a question, else `NO_QUESTION`; there too where the
            environment does not say.
        asked, correct: [b t] True where a step asked a question, and where the answer was right.
    """

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    mask: Tensor
    bootstrap: Tensor
    targets: Tensor
    asked: Tensor
    correct: Tensor

    @property
    def num_steps(self) -> int:
        """Environment steps, padding not counted."""
        return int(self.mask.sum())

    @property
    def success(self) -> float:
        """Share of questions answered correctly; NaN if none was asked."""
        return float(self.correct.sum() / self.asked.sum())

    def rows(self, index: Tensor) -> "Rollout":
        """Return the episodes that `index` picks, cut to the longest of them."""
        picked = {field.name: getattr(self, field.name)[index] for field in fields(self)}
        length = int(picked["mask"].sum(1).max())
        return Rollout(**{name: x if name == "bootstrap" else x[:, :length] for name, x in picked.items()})

    def to(self, device: torch.device) -> "Rollout":
        """Return the same episodes on `device`."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def draw_noise(agent: Agent, envs: VectorEnv, generator: torch.Generator | None) -> Tensor:
    """Draw the action noise [b t a] of one episode per environment; `generator` None means greedy: zeros."""
    shape = (envs.num_envs, max_episode_steps(envs), agent.num_actions)
    return torch.zeros(shape) if generator is None else agent.head.draw_noise(shape, generator)


def max_episode_steps(envs: VectorEnv) -> int:
    """Return the length of the longest episode.

    Raises:
        InputError: if the environment does not say.
    """
    limit = getattr(getattr(envs, "task", None), "max_episode_steps", None) or (
        envs.spec and envs.spec.max_episode_steps
    )
    if limit is None:
        raise InputError(f"{envs}: must have a time limit; register it with max_episode_steps")
    return limit


def collect(agent: Agent, envs: VectorEnv, *, seed: int, noise: Tensor) -> Rollout:
    """Collect one episode per environment, open loop if the environment offers it, stepping otherwise."""
    if isinstance(envs, OpenLoopVectorEnv):
        return collect_open_loop(agent, envs, seed=seed, noise=noise)
    return collect_stepping(agent, envs, seed=seed, noise=noise)


@torch.no_grad()
def collect_open_loop(agent: Agent, envs: OpenLoopVectorEnv, *, seed: int, noise: Tensor) -> Rollout:
    """Draw whole episodes, run the memory over them once, then act and score every step at once."""
    episodes = envs.draw_episodes(seed)
    length = int(episodes.lengths.max())
    device = agent.device
    observations = torch.from_numpy(episodes.observations[:, :length]).to(device)
    num_rows = max(1, STEPS_PER_FORWARD // length)
    chunks = [agent.evaluate(chunk) for chunk in observations.split(num_rows)]
    outputs, values = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    actions = agent.head.sample(outputs, noise[:, :length].to(device))
    answers = (actions if agent.head.discrete else actions.argmax(-1)).cpu().numpy()
    targets, asked = episodes.targets[:, :length], episodes.is_question[:, :length]
    columns = {
        "observations": observations,
        "actions": actions,
        "log_probs": agent.head.log_prob(outputs, actions),
        "values": values,
        "rewards": torch.from_numpy(envs.task.rewards(answers, targets)),
        "mask": torch.arange(length) < torch.from_numpy(episodes.lengths).unsqueeze(1),
        "targets": torch.from_numpy(targets),
        "asked": torch.from_numpy(asked),
        "correct": torch.from_numpy(asked & (answers == targets)),
    }
    columns = {name: column.to(device) for name, column in columns.items()}
    return Rollout(**_blank_padding(columns), bootstrap=torch.zeros(len(observations), device=device))


@torch.no_grad()
def collect_stepping(agent: Agent, envs: VectorEnv, *, seed: int, noise: Tensor) -> Rollout:
    """Step all environments until each has finished one episode; what comes after it is left out.

    Every environment contributes exactly one episode, however short, so that short ones are not favoured.

    Raises:
        InputError: for an environment whose observation after the last step is already the next episode's.
    """
    if envs.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP:
        raise InputError(
            f"{envs}: autoreset_mode must be NEXT_STEP or DISABLED, so that last observations show"
        )
    observations, _ = envs.reset(seed=seed)
    state = agent.initial_state(envs.num_envs)
    running = torch.ones(envs.num_envs, dtype=torch.bool)
    bootstrap = torch.zeros(envs.num_envs)
    unknown = np.full(envs.num_envs, NO_QUESTION)
    steps: list[dict[str, Any]] = []
    while running.any():
        step_noise = noise[:, len(steps)].to(agent.device)
        actions, log_probs, values, state, _ = agent(observations, state, step_noise)
        # A copy: an environment may write its next observations into the same array.
        before = torch.tensor(np.asarray(observations), dtype=torch.float32)
        observations, rewards, terminated, truncated, infos = envs.step(actions.cpu().numpy())
        asked = torch.as_tensor(infos.get("_correct", np.zeros(envs.num_envs, dtype=bool)))
        correct = torch.as_tensor(infos.get("correct", np.zeros(envs.num_envs, dtype=bool)))
        steps.append(
            {
                "observations": before,
                "actions": actions.cpu(),
                "log_probs": log_probs.cpu(),
                "values": values.cpu(),
                "rewards": torch.as_tensor(rewards, dtype=torch.float32),
                "mask": running.clone(),
                "targets": torch.as_tensor(infos.get("target", unknown)).where(running, NO_QUESTION),
                "asked": asked & running,
                "correct": asked & correct & running,
            }
        )
        cut_off = running & torch.as_tensor(truncated & ~terminated)
        if cut_off.any():
            # A copy: these values belong to states that the episode does not go on from.
            after = agent(observations, {**state}, step_noise)[2].cpu()
            bootstrap = torch.where(cut_off, after, bootstrap)
        running &= ~torch.as_tensor(terminated | truncated)
    columns = {name: torch.stack([step[name] for step in steps], dim=1) for name in steps[0]}
    return Rollout(**_blank_padding(columns), bootstrap=bootstrap).to(agent.device)


def _blank_padding(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """Zero everything [b t ...] outside the mask."""
    mask = columns["mask"]
    return {
        name: x.masked_fill(~mask.reshape(mask.shape + (1,) * (x.dim() - 2)), 0) if name != "targets" else x
        for name, x in columns.items()
    }
