"""The agent: observation, memory, policy head, value head."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from membench.catalogue import build_memory
from membench.config import ComputeConfig, RunConfig
from membench.envs import Task
from membench.errors import InputError
from membench.heads import CategoricalHead, GaussianHead, Head
from membench.memory import Memory, State, Trace, map_state, select


class Agent(nn.Module):
    """A memory with a policy head Linear(latent -> actions) and a value head Linear(latent -> 1) on it.

    Args:
        memory: maps scaled observations to the latent.
        head: how the policy head's outputs are read.
        num_actions: possible answers.
        observation_scale: factor on observations.
        compute: how the memory is computed.
    """

    def __init__(
        self,
        memory: Memory,
        head: Head,
        num_actions: int,
        observation_scale: float = 1.0,
        compute: ComputeConfig | None = None,
    ):
        super().__init__()
        self.compute = compute or ComputeConfig()
        self.memory, self.head = memory, head
        self.num_actions, self.observation_scale = num_actions, observation_scale
        self.policy_head = nn.Linear(memory.output_size, num_actions)
        self.value_head = nn.Linear(memory.output_size, 1)
        # Near-uniform first actions, as is usual for PPO (Andrychowicz et al. 2021, arXiv 2006.05990).
        for layer, gain in ((self.policy_head, 0.01), (self.value_head, 1.0)):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    @property
    def device(self) -> torch.device:
        """Where the agent's parameters are."""
        return self.value_head.weight.device

    def initial_state(self, batch_size: int | None = None) -> State:
        """Return the state before the first step: of `batch_size` rows, or of one without a batch axis."""
        if batch_size is None:
            return select(self.memory.initial_state(1), 0)
        return self.memory.initial_state(batch_size)

    def forward(
        self, obs: Any, state: State | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, State, dict[str, Tensor]]:
        """Act on one observation per row.

        Args:
            obs: [b i], or [i] for one environment without a batch axis; then nothing that comes back has one
                either, and no gradients are recorded. A tensor or anything that NumPy takes.
            state: what the last call returned; None before the first step of an episode.
            noise: what the action is sampled with, from `head.draw_noise`; None draws it here, zeros are
                greedy.

        Returns:
            action, log_prob [b], value [b], the next state, and extras: the policy head's outputs as `policy`
            [b a] and the distribution's `entropy` [b].
        """
        obs = self._tensor(obs)
        if obs.dim() == 1:
            return self._act_alone(obs, state, noise)
        state = self.initial_state(len(obs)) if state is None else state
        with self._in_precision():
            latent, state = self.memory.step(obs * self.observation_scale, state)
        outputs, value = self.heads(latent)
        if noise is None:
            noise = self.head.draw_noise(tuple(outputs.shape), None).to(outputs.device)
        action = self.head.sample(outputs, noise)
        extras = {"policy": outputs, "entropy": self.head.entropy(outputs)}
        return action, self.head.log_prob(outputs, action), value, state, extras

    @torch.no_grad()
    def _act_alone(
        self, obs: Tensor, state: State | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, State, dict[str, Tensor]]:
        """Act on one observation [i] without a batch axis."""
        batched = None if state is None else self._batched(state)
        action, log_prob, value, after, extras = self(obs.unsqueeze(0), batched, noise)
        return action[0], log_prob[0], value[0], select(after, 0), select(extras, 0)

    def evaluate(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Run whole episodes [b t i] from the initial state: policy outputs [b t a] and values [b t]."""
        state, scaled = self.initial_state(len(observations)), observations * self.observation_scale
        with self._in_precision():
            if self.compute.steps_per_checkpoint is None or not torch.is_grad_enabled():
                latent = self.memory(scaled, state)[0]
            else:
                latent = self._with_checkpoints(scaled, state, self.compute.steps_per_checkpoint)
        return self.heads(latent)

    def _with_checkpoints(self, x: Tensor, state: State, num_steps: int) -> Tensor:
        latents = []
        for segment in x.split(num_steps, dim=1):
            latent, state = checkpoint(self.memory, segment, state, use_reentrant=False)
            latents.append(latent)
        return torch.cat(latents, dim=1)

    def _in_precision(self) -> AbstractContextManager:
        """Return the context that the memory is computed in."""
        if self.compute.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def heads(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return policy outputs and values, in the heads' own precision."""
        latent = latent.to(self.value_head.weight.dtype)
        return self.policy_head(latent), self.value_head(latent).squeeze(-1)

    def make_room_for(self, task: Task) -> None:
        """Raise the context of a memory with a cache to the task's longest episode; no weight changes."""
        context_length = getattr(self.memory, "context_length", None)
        if context_length is not None:
            self.memory.context_length = max(context_length, context_length_for(task))

    def get_attention_weights(self, obs: Any, state: State | None = None) -> Tensor:
        """Return where the memory would look at this step: heads x slots, [b head slot] for obs [b i].

        Nothing changes: neither the state nor the agent.

        Raises:
            InputError: for a memory without attention.
        """
        obs, trace = self._tensor(obs), Trace()
        rows = obs.unsqueeze(0) if obs.dim() == 1 else obs
        state = self.initial_state(len(rows)) if state is None else self._batched(state)
        with torch.no_grad(), self._in_precision():
            self.memory((rows * self.observation_scale).unsqueeze(1), state, trace=trace)
        if "attention.read" not in trace:
            raise InputError(f"{type(self.memory).__name__}: has no attention to look at")
        weights = trace["attention.read"][-1][:, 0]
        return weights[0] if obs.dim() == 1 else weights

    def _tensor(self, obs: Any) -> Tensor:
        like = self.value_head.weight
        return torch.as_tensor(obs, dtype=like.dtype, device=like.device)

    @staticmethod
    def _batched(state: State) -> State:
        """Give a state without a batch axis one of length 1."""
        return state if state["hidden"].dim() == 2 else map_state(lambda leaf: leaf.unsqueeze(0), state)


def build_agent(config: RunConfig, task: Task) -> Agent:
    """Build the agent that `config` describes for `task`, on the CPU."""
    memory = build_memory(
        config.architecture, task.observation_size, config.memory, context_length=context_length_for(task)
    )
    head = CategoricalHead() if config.agent.head == "categorical" else GaussianHead(task.num_actions)
    return Agent(memory, head, task.num_actions, config.agent.observation_scale, config.compute)


def context_length_for(task: Task) -> int:
    """Return the context that a cache needs for `task`.

    One more than an episode: what follows the last step of a truncated one is valued too.
    """
    return task.max_episode_steps + 1
