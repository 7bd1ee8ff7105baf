"""Attention: where the memory writes to and reads from, step by step."""

from dataclasses import dataclass

import torch
from torch import Tensor

UNIFORM = 0.95
"""Attention over so large a share of the places, effectively, is called uniform."""


@dataclass(frozen=True)
class Attention:
    """One set of weights: of one memory, or of one layer.

    Attributes:
        name: `read` or `write`, with a number where there are several.
        places: what is attended to, `slots` or `steps`.
        weights: [t answer head place], means over the episodes with the same answer.
        steps: [t] the steps looked at.
    """

    name: str
    places: str
    weights: Tensor
    steps: list[int]

    @property
    def mean(self) -> Tensor:
        """[t head place], over all answers."""
        return self.weights.mean(1)

    def effective_places(self) -> Tensor:
        """Return over how many places [t head] attention is spread: the exponential of its entropy.

        Of weights that do not add up to 1, as where a head writes less than it could, that of their shares.
        """
        totals = self.weights.sum(-1, keepdim=True)
        shares = self.weights / totals.clamp(min=torch.finfo(totals.dtype).tiny)
        return torch.special.entr(shares).sum(-1).exp().mean(1)

    def is_uniform(self, place: int = -1) -> bool:
        """Return whether attention at the `place`-th of the steps looked at prefers nothing."""
        possible = self.weights.shape[-1] if self.places == "slots" else self.steps[place] + 1
        return bool((self.effective_places()[place] >= UNIFORM * possible).all()) and possible > 1

    def depends_on_answer(self, place: int = -1) -> float:
        """Return how much attention differs between answers: the mean total variation from their mean."""
        weights = self.weights[place]
        return float((weights - weights.mean(0)).abs().sum(-1).mean() / 2)

    def strongest(self, place: int, answer: int | None = None) -> tuple[int, float]:
        """Return the place with the most weight, over heads, and that weight; of one answer or of all."""
        weights = self.mean[place] if answer is None else self.weights[place, answer]
        found = weights.mean(0)
        return int(found.argmax()), float(found.max())


def by_answer(weights: Tensor, answers: Tensor) -> Tensor:
    """Return the means [answer head place] of weights [b head place] over the episodes with each answer."""
    return torch.stack([weights[answers == answer].float().mean(0) for answer in answers.unique()])


def gather(name: str, found: list[list[Tensor]], steps: list[int], *, has_slots: bool) -> list[Attention]:
    """Return the attentions of one name.

    Args:
        name: what to call them.
        found: per step, per memory or layer, [answer head place]; places may grow with time.
        steps: the steps.
        has_slots: whether places are slots; else they are steps.
    """
    together = []
    for number, one in enumerate(zip(*found, strict=True), start=1):
        most = max(weights.shape[-1] for weights in one)
        padded = [torch.nn.functional.pad(weights, (0, most - weights.shape[-1])) for weights in one]
        called = f"{name} {number}" if len(found[0]) > 1 else name
        together.append(Attention(called, "slots" if has_slots else "steps", torch.stack(padded), steps))
    return together
