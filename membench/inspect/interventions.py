"""Interventions: which part of the state does the answer come from?

In the delay, a part of the state (or a single slot) is swapped between episodes with different answers, or
zeroed, and the episode goes on. If the answer follows the part, the part carried the cue; what a probe can
read off a part need not be what the agent uses.

The effect of swapping a set S of parts is measured on the policy head's outputs at the query: with d(S) the
mean of output[the donor's answer] - output[the own answer],

    effect(S) = (d(S) - d(nothing)) / (d(everything) - d(nothing))

A part's causal share is its Shapley value in this game (Shapley 1953): the mean of what it adds to the effect
over all orders in which parts may be swapped. Shares add up to 1; a part that alone carries the cue has 1,
and of two that carry it redundantly each has what the policy listens to.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from math import factorial, isfinite

import numpy as np
import torch
from torch import Tensor

from membench.agent import Agent
from membench.inspect.episodes import Sample
from membench.inspect.watching import Moment, Path, features, leaves, parts, replaced, slot_leaves, watch
from membench.memory import State

NUM_EPISODES = 128
MOST_PARTS = 5
"""Parts that differ between episodes and are told apart; the rest of them count as one."""

OTHERS = "others"
"""What the rest of the parts are called."""

MOST_SLOTS = 16
"""Slots that are swapped one by one: those that differ most between answers."""

LEAST_MARGIN = 1e-3
"""Of |d(everything) - d(nothing)|, as a share of the outputs' spread: with less, nothing reaches them."""


@dataclass(frozen=True)
class PartEffect:
    """What happens to the answers when one part of the state is changed in the delay."""

    name: str
    share: float
    """Causal share."""
    effect: float
    """Effect of swapping it alone."""
    following: float
    """Share of answers that are the donor's when it alone is swapped."""
    success_without: float
    """Share of right answers when it is zeroed."""


@dataclass(frozen=True)
class SlotEffect:
    """The effect of swapping one slot alone."""

    memory: str
    slot: int
    effect: float


@dataclass(frozen=True)
class Interventions:
    """What was found by changing the state after one step."""

    step: int
    success: float
    """Share of right answers of episodes that nothing is done to."""
    following_all: float
    """Share of answers that are the donor's when the whole state is swapped."""
    parts: list[PartEffect]
    """Empty if what is carried does not reach the answer."""
    slots: list[SlotEffect]


class _Rest:
    """Episodes after some step, to be gone on with from any state."""

    def __init__(self, agent: Agent, sample: Sample, step: int):
        self.agent, self.answers = agent, sample.answers
        self.x = sample.observations[:, step + 1 :] * agent.observation_scale
        self.donors = donors_for(sample.answers)

    def outputs(self, state: State) -> Tensor:
        """Return the outputs at the query [b a] from `state`."""
        return self.agent.heads(self.agent.memory(self.x, state)[0][:, -1])[0]

    def swapped(self, state: State, paths: Iterable[Path]) -> State:
        found = leaves(state)
        return replaced(state, {path: found[path][self.donors] for path in paths})

    def margin(self, outputs: Tensor) -> float:
        theirs, own = (
            outputs.gather(1, answers.unsqueeze(1)).mean()
            for answers in (self.answers[self.donors], self.answers)
        )
        return float(theirs - own)

    def share_of(self, outputs: Tensor, answers: Tensor) -> float:
        return float((outputs.argmax(-1) == answers).float().mean())


def donors_for(answers: Tensor) -> Tensor:
    """Return for every episode [b] another one with a different answer, itself where there is none."""
    random, values = np.random.default_rng(0), answers.cpu().numpy()
    donors = [
        int(random.choice(others)) if len(others := np.flatnonzero(values != own)) else place
        for place, own in enumerate(values)
    ]
    return torch.tensor(donors)


@torch.no_grad()
def intervene(agent: Agent, sample: Sample, step: int, *, with_slots: bool = True) -> Interventions:
    """Return what changes of the state after `step`, before the query, do to the answers at the query."""
    sample = sample.rows(NUM_EPISODES)
    (moment,) = watch(agent, sample.observations, [step])
    rest, state = _Rest(agent, sample, step), moment.state
    everything = [path for paths in parts(state).values() for path in paths]
    nothing, all_swapped = rest.outputs(state), rest.outputs(rest.swapped(state, everything))
    base, most = rest.margin(nothing), rest.margin(all_swapped)
    scale = most - base
    reaches = isfinite(scale) and abs(scale) > LEAST_MARGIN * float(nothing.std())
    groups = _differing(state) if reaches else {}

    def effect(outputs: Tensor) -> float:
        return (rest.margin(outputs) - base) / scale

    return Interventions(
        step=step,
        success=rest.share_of(nothing, rest.answers),
        following_all=rest.share_of(all_swapped, rest.answers[rest.donors]),
        parts=_part_effects(rest, state, groups, effect),
        slots=_slot_effects(rest, moment, effect) if groups and with_slots else [],
    )


def _differing(state: State) -> dict[str, list[Path]]:
    """Return the parts of a state that differ between episodes, the smaller ones beyond a number as one."""
    found = {
        name: paths
        for name, paths in parts(state).items()
        if bool((numbers := features(state, paths)).ne(numbers[:1]).any())
    }
    if len(found) <= MOST_PARTS:
        return found
    by_size = sorted(found, key=lambda name: -features(state, found[name]).shape[1])
    kept = {name: found[name] for name in by_size[: MOST_PARTS - 1]}
    return kept | {OTHERS: [path for name in by_size[MOST_PARTS - 1 :] for path in found[name]]}


def _part_effects(
    rest: _Rest, state: State, groups: dict[str, list[Path]], effect: Callable[[Tensor], float]
) -> list[PartEffect]:
    def swapped(names: Iterable[str]) -> Tensor:
        return rest.outputs(rest.swapped(state, [path for name in names for path in groups[name]]))

    alone = {name: swapped([name]) for name in groups}
    # By the definition of an effect, that of nothing is 0 and that of all parts is 1.
    effects = {(): 0.0} | {(name,): effect(outputs) for name, outputs in alone.items()}
    effects |= {
        chosen: effect(swapped(chosen))
        for number in range(2, len(groups))
        for chosen in combinations(groups, number)
    }
    effects[tuple(groups)] = 1.0
    shares = shapley(list(groups), effects)
    found = []
    for name, paths in groups.items():
        zeros = {path: torch.zeros_like(leaf) for path, leaf in leaves(state).items() if path in paths}
        without = rest.outputs(replaced(state, zeros))
        found.append(
            PartEffect(
                name=name,
                share=shares[name],
                effect=effects[(name,)],
                following=rest.share_of(alone[name], rest.answers[rest.donors]),
                success_without=rest.share_of(without, rest.answers),
            )
        )
    return found


def shapley(names: list[str], effects: dict[tuple[str, ...], float]) -> dict[str, float]:
    """Return the Shapley value of every name, given the effect of every subset, in the order of `names`."""
    total = factorial(len(names))
    values = dict.fromkeys(names, 0.0)
    for chosen, effect in effects.items():
        size = len(chosen)
        for name in names:
            if name in chosen:
                values[name] += factorial(size - 1) * factorial(len(names) - size) / total * effect
            else:
                values[name] -= factorial(size) * factorial(len(names) - size - 1) / total * effect
    return values


def _slot_effects(rest: _Rest, moment: Moment, effect: Callable[[Tensor], float]) -> list[SlotEffect]:
    """Return the effect of swapping single slots, greatest first."""
    found = []
    for path in slot_leaves(moment):
        slots = leaves(moment.state)[path]
        for slot in separation(slots, rest.answers).argsort(descending=True)[:MOST_SLOTS].tolist():
            changed = slots.clone()
            changed[:, slot] = slots[rest.donors, slot]
            outputs = rest.outputs(replaced(moment.state, {path: changed}))
            found.append(SlotEffect(".".join(path), slot, effect(outputs)))
    return sorted(found, key=lambda one: -one.effect)


def separation(slots: Tensor, answers: Tensor) -> Tensor:
    """Return by how much each slot [slot] of slots [b slot feature] differs between answers: a norm."""
    means = torch.stack([slots[answers == answer].float().mean(0) for answer in answers.unique()])
    return (means - means.mean(0)).square().sum(-1).mean(0).sqrt()
