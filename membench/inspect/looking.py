"""All that is measured of one agent on one task."""

from dataclasses import dataclass

import torch
from torch import Tensor

from membench.agent import Agent
from membench.allocator import keep_freed_memory
from membench.envs import Task
from membench.inspect.attention import Attention, by_answer, gather
from membench.inspect.episodes import Sample, draw_sample
from membench.inspect.interventions import Interventions, intervene
from membench.inspect.probe import Retention, probe, readable
from membench.inspect.reach import gradient_reach
from membench.inspect.utilisation import Utilisation, utilisation
from membench.inspect.watching import (
    Change,
    Moment,
    features,
    leaves,
    num_episodes_for,
    part_of,
    parts,
    slot_leaves,
    watch,
)

MOST_EPISODES = 256
NUM_SWAP_STEPS = 5
WHOLE_STATE = "whole state"


@dataclass(frozen=True)
class Inspection:
    """What there is to see inside an agent.

    Axes: t the steps looked at, b episode.

    Attributes:
        sample: the episodes.
        steps: [t] their steps looked at.
        utilisation: by part of the state, or place of slots, over time.
        slot_parts: the names among these that are slots.
        attention: reading and writing.
        hidden: [t b h] the state's `hidden`.
        retention: by part of the state, and of the whole of it.
        outputs: [t b a] of the policy head.
        values: [t b].
        discount: of the rewards whose sum values are to be; None where values were not trained.
        writes: [t] norm of the change of all slots in the step, mean over episodes; 0 without slots.
        reach: [t] gradient reach over all steps, and before training.
        swaps: interventions at some steps of the delay, the first and the middle among them.
    """

    sample: Sample
    steps: list[int]
    utilisation: dict[str, list[Utilisation]]
    slot_parts: list[str]
    attention: list[Attention]
    hidden: Tensor
    retention: dict[str, Retention]
    outputs: Tensor
    values: Tensor
    discount: float | None
    writes: list[float]
    reach: Tensor
    reach_before: Tensor | None
    swaps: list[Interventions]

    @property
    def judged(self) -> list[str]:
        """The names in `utilisation` that the document judges: slots where there are some, else all."""
        return self.slot_parts or list(self.utilisation)

    @property
    def middle(self) -> Interventions | None:
        """The intervention in the middle of the delay."""
        return next((one for one in self.swaps if one.step == self.sample.middle_of_delay), None)

    @property
    def only_part(self) -> str | None:
        """The one part of the state that carries anything over the delay; None if several do, or none."""
        names = {part.name for one in self.swaps for part in one.parts}
        return names.pop() if len(names) == 1 else None

    @property
    def shares_say_nothing(self) -> bool:
        """Whether all that is carried is one part of the state, without slots: its causal share is 1."""
        return self.only_part is not None and not self.slot_parts

    def part_of_slots(self, name: str) -> str:
        """Return which part of the state the slots of this name belong to."""
        return part_of(tuple(name.split(".")))

    def slot_share(self, swaps: Interventions) -> float:
        """Return the causal share of the slots, all of them together."""
        names = {self.part_of_slots(name) for name in self.slot_parts}
        return sum(part.share for part in swaps.parts if part.name in names)

    def policy(self, place: int) -> Tensor:
        """Return the policy's probabilities [b a] at one of the steps looked at.

        Of a Gaussian head, whose argmax answers, the softmax of its means.
        """
        return self.outputs[place].softmax(-1)

    def answer_place(self, episode: int) -> int:
        """Return the place of an episode's answer among the answers that there are, in order."""
        return self.sample.answers.unique().tolist().index(int(self.sample.answers[episode]))

    @property
    def success(self) -> float:
        """Share of right answers at the query."""
        return float((self.outputs[-1].argmax(-1) == self.sample.answers).float().mean())

    def place(self, step: int) -> int:
        """Return which of the steps looked at is the nearest to `step`."""
        return min(range(len(self.steps)), key=lambda place: abs(self.steps[place] - step))


@dataclass
class _Seen:
    """What is kept of one moment; of states that may be large, not more than is needed."""

    utilisation: dict[str, Utilisation]
    written: float
    weights: dict[str, list[Tensor]]
    readings: dict[str, Tensor]
    hidden: Tensor
    outputs: Tensor
    values: Tensor


def look(
    agent: Agent,
    task: Task,
    untrained: Agent | None = None,
    change: Change | None = None,
    *,
    discount: float | None = None,
) -> Inspection:
    """Look inside `agent` in fresh episodes of `task`.

    Args:
        agent: stays as it is.
        task: what it is asked.
        untrained: what it began as, for comparison.
        change: what is done to the state after every step, to see what comes of a fault; interventions and
            gradients are measured without.
        discount: that which the agent's values were trained with; None if they were not.

    Raises:
        InputError: for a task in which hardly any two episodes are asked at the same step.
    """
    keep_freed_memory()  # states are looked at step by step, and those of many slots are large
    num_episodes = num_episodes_for(agent, MOST_EPISODES)
    sample = draw_sample(agent, task, num_episodes)
    steps, num_train = sample.observed_steps, len(sample.answers) // 2
    (first,) = watch(agent, sample.observations[:2], [0])
    slot_parts = [".".join(path) for path in slot_leaves(first)]
    generator = torch.Generator().manual_seed(0)
    seen = [
        _see(moment, sample, slot_parts, num_train, generator)
        for moment in watch(agent, sample.observations, steps, change)
    ]
    return Inspection(
        sample=sample,
        steps=steps,
        utilisation={name: [one.utilisation[name] for one in seen] for name in seen[0].utilisation},
        slot_parts=slot_parts,
        attention=_attention(seen, steps, has_slots=bool(slot_parts)),
        hidden=torch.stack([one.hidden for one in seen]),
        retention=_retention(seen, sample, steps, num_train),
        outputs=torch.stack([one.outputs for one in seen]),
        values=torch.stack([one.values for one in seen]),
        discount=discount,
        writes=[one.written for one in seen],
        reach=gradient_reach(agent, sample.observations),
        reach_before=None if untrained is None else gradient_reach(untrained, sample.observations),
        swaps=_swaps(agent, sample),
    )


@torch.no_grad()
def _see(
    moment: Moment, sample: Sample, slot_parts: list[str], num_train: int, generator: torch.Generator
) -> _Seen:
    state, by_path = moment.state, {".".join(path): leaf for path, leaf in leaves(moment.state).items()}
    of_slots = {name: by_path[name] for name in slot_parts}
    by_part = parts(state)
    rest = {name: paths for name, paths in by_part.items() if not set(map(".".join, paths)) & of_slots.keys()}
    measured = {name: utilisation(slots, is_slots=True) for name, slots in of_slots.items()}
    measured |= {
        name: utilisation(features(state, paths))
        for name, paths in rest.items()
        if all(leaves(state)[path].is_floating_point() for path in paths)
    }
    readings = {
        name: readable(features(state, paths), num_train, generator) for name, paths in by_part.items()
    }
    return _Seen(
        utilisation=measured,
        written=_written(moment, slot_parts),
        weights={
            name: [by_answer(weights[:, -1], sample.answers) for weights in moment.trace.get(name, [])]
            for name in ("attention.read", "attention.write")
        },
        readings=readings,
        hidden=state["hidden"].float(),
        outputs=moment.outputs,
        values=moment.values,
    )


def _written(moment: Moment, slot_parts: list[str]) -> float:
    """Return the norm of the change of all slots in the step, the mean over episodes."""
    if not slot_parts:
        return 0.0
    paths = [tuple(name.split(".")) for name in slot_parts]
    change = features(moment.state, paths) - features(moment.before, paths)
    return float(change.norm(dim=1).mean())


def _attention(seen: list[_Seen], steps: list[int], *, has_slots: bool) -> list[Attention]:
    return [
        one
        for name in ("write", "read")
        for one in gather(
            name, [each.weights[f"attention.{name}"] for each in seen], steps, has_slots=has_slots
        )
    ]


def _retention(seen: list[_Seen], sample: Sample, steps: list[int], num_train: int) -> dict[str, Retention]:
    tested = sample.answers[num_train:]
    chance = float(tested.unique(return_counts=True)[1].max() / len(tested))
    by_part = {name: torch.stack([one.readings[name] for one in seen]) for name in seen[0].readings}
    if len(by_part) > 1:
        by_part[WHOLE_STATE] = torch.cat(list(by_part.values()), dim=-1)
    return {
        name: Retention(steps, probe(readings, sample.answers, num_train), chance, len(tested))
        for name, readings in by_part.items()
    }


def _swaps(agent: Agent, sample: Sample) -> list[Interventions]:
    """Return interventions spread over the delay; slots are swapped one by one in its middle alone."""
    if sample.query == 0:
        return []
    middle = sample.middle_of_delay
    return [
        intervene(agent, sample, step, with_slots=step == middle)
        for step in sample.spread_over_delay(NUM_SWAP_STEPS)
    ]
