"""Diagnosis: can an agent, as it is, tell the cues apart when it is asked, and can it learn to?

Most failures to learn over a delay show before any training. Where the features of different cues hardly
differ at the query, the cue was lost on the way in or drowned by the delay; where no gradient reaches the
cue, nothing will be done about it; where the question's step has a small share of the policy gradient, the
other steps' noise drowns what there is to learn.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from membench.agent import Agent, build_agent
from membench.config import PPOConfig, RunConfig
from membench.envs import Episodes, OpenLoopTask, Task, make_task
from membench.envs.episodes import as_open_loop
from membench.envs.task import check_length
from membench.faults import blaming_memory
from membench.ppo import generalised_advantages, normalised
from membench.records import CueGradient
from membench.rollout import collect_open_loop, draw_noise
from membench.streams import RandomStreams

NUM_EPISODES = 32


@dataclass(frozen=True)
class Diagnosis:
    """What one agent makes of one task.

    Attributes:
        feature_norm: mean norm of the latent at the last question.
        cue_distance: mean distance between the mean latents there of two different right answers, as a share
            of `feature_norm`.
        cue_gradient: norm of the gradient of the answers' cross-entropy with respect to the first
            observation, as a share of that with respect to all of them; 0 where nothing reaches it.
        question_share: norm of the policy gradient of the question steps, as a share of that plus the norm of
            the other steps' gradient.
    """

    feature_norm: float
    cue_distance: float
    cue_gradient: float
    question_share: float


def diagnose(config: RunConfig) -> Diagnosis:
    """Return the diagnosis of the agent that a run of `config` would begin with.

    Raises:
        InputError: for a task whose observations depend on actions: an untrained agent may never be asked;
            for one whose episodes are too long; for an error in a memory of the user's.
    """
    task, random = as_open_loop(make_task(config.task), "a diagnosis"), RandomStreams(config.seed)
    check_length(task.max_episode_steps, f"task.horizon {config.task.horizon}")
    torch.manual_seed(random.initialisation)
    with blaming_memory(config.architecture):
        return diagnose_agent(build_agent(config, task), task, config.ppo)


def diagnose_agent(agent: Agent, task: OpenLoopTask, config: PPOConfig) -> Diagnosis:
    """Return the diagnosis of an agent, at any time of its training; the agent stays as it is."""
    episodes = task.draw(np.random.default_rng(0), NUM_EPISODES)
    observations, asked = torch.from_numpy(episodes.observations), torch.from_numpy(episodes.is_question)
    with torch.no_grad():
        latents, _ = agent.memory(observations * agent.observation_scale, agent.initial_state(NUM_EPISODES))
    last_question = asked.shape[1] - 1 - asked.flip(1).long().argmax(1)
    at_last_question = latents[torch.arange(NUM_EPISODES), last_question]
    norms = _gradient_norms(agent, episodes, config)
    feature_norm = at_last_question.norm(dim=1).mean()
    last_answers = torch.from_numpy(episodes.targets)[torch.arange(NUM_EPISODES), last_question]
    distance = _distance_between(at_last_question, last_answers)
    return Diagnosis(
        feature_norm=float(feature_norm),
        cue_distance=float(distance / feature_norm) if feature_norm else 0.0,
        cue_gradient=float(norms[0] / norms.norm()) if norms.any() else 0.0,
        question_share=_question_share(agent, task, config),
    )


def cue_gradient(agent: Agent, task: Task, config: PPOConfig) -> CueGradient | None:
    """Return how much gradient reaches the cue, at any time of training; the agent stays as it is.

    Of very long episodes fewer are drawn.

    Returns:
        None for a task that shows the cue at no fixed step, and for a gradient that is not finite.
    """
    if task.cue_step is None or not isinstance(task, OpenLoopTask):
        return None
    num_episodes = min(NUM_EPISODES, max(1, config.steps_per_backward // task.max_episode_steps))
    norms = _gradient_norms(agent, task.draw(np.random.default_rng(0), num_episodes), config)
    norm, whole = norms[task.cue_step], norms.norm()
    if not whole.isfinite():
        return None
    return CueGradient(norm=float(norm), share=min(1.0, float(norm / whole)) if whole else 0.0)


def _gradient_norms(agent: Agent, episodes: Episodes, config: PPOConfig) -> Tensor:
    """Return the norm [t] of the answers' cross-entropy's gradient with respect to each step's observation.

    It is the root mean square over episodes; 0 where what is observed makes no difference. No more episodes
    are held at once than training holds, for this must not be what a run needs most memory for.
    """
    arrays = (episodes.observations, episodes.targets, episodes.is_question)
    observations, targets, asked = (torch.from_numpy(array).to(agent.device) for array in arrays)
    num_rows = max(1, config.num_envs // config.num_minibatches)
    parts = (x.split(num_rows) for x in (observations, targets, asked))
    gradients = []
    for x, answers, at in zip(*parts, strict=True):
        x.requires_grad_()
        loss = F.cross_entropy(agent.evaluate(x)[0][at], answers[at], reduction="sum") / asked.sum()
        gradients += torch.autograd.grad(loss, x, allow_unused=True, materialize_grads=True)
    return torch.cat(gradients).square().sum(-1).mean(0).sqrt()


def _distance_between(latents: Tensor, answers: Tensor) -> Tensor:
    means = torch.stack([latents[answers == answer].mean(0) for answer in answers.unique()])
    return torch.pdist(means).mean()


def _question_share(agent: Agent, task: OpenLoopTask, config: PPOConfig) -> float:
    envs = task.vector_env(NUM_EPISODES, discrete=agent.head.discrete)
    noise = draw_noise(agent, envs, torch.Generator().manual_seed(0))
    rollout = collect_open_loop(agent, envs, seed=0, noise=noise)
    advantages = normalised(generalised_advantages(rollout, config.discount, config.gae_lambda), rollout.mask)
    norms = []
    for steps in (rollout.asked, rollout.mask & ~rollout.asked):
        outputs, _ = agent.evaluate(rollout.observations)
        weighted = agent.head.log_prob(outputs, rollout.actions) * advantages
        gradients = torch.autograd.grad(
            weighted[steps].sum(), list(agent.parameters()), allow_unused=True, materialize_grads=True
        )
        norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm())
    at_question, elsewhere = norms
    return float(at_question / (at_question + elsewhere))
