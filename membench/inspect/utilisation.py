"""Utilisation: how full a memory is, step by step, and whether that is healthy.

Source: the deep dive, "Check Memory Utilization": the mean norm of the slots and the share of their values
beyond 0.1 in size, with the ranges that it calls healthy. The ranges are about slots; of any other state,
whose vectors may be of any size, the norm is measured and not judged.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from membench.memory import Memory, Trace

SATURATED = 0.1
"""Values larger than this in size count as used."""

HEALTHY_NORM = (0.5, 2.0)
HEALTHY_SATURATION = (0.2, 0.8)

NUM_DECOMPOSED = 4
"""Episodes whose slots' matrix is decomposed, which takes longer than all the rest."""


class Utilisation(NamedTuple):
    """How full a memory is after one step."""

    norm: float
    """Mean norm of the vectors along the last axis: of the slots, or of the state's."""
    saturation: float
    """Share of values beyond `SATURATED` in size."""
    effective_slots: float | None = None
    """As how many different slots the slots act: the exponential of the entropy of their matrix's squared
    singular values; 1 where all are the same, their number where all are orthogonal and as long. None of what
    is no slots."""


def utilisation(memory: Tensor, *, is_slots: bool = False) -> Utilisation:
    """Return the utilisation of what a batch remembers, [b ... feature], for slots [b slot feature]."""
    memory = memory.float()
    return Utilisation(
        norm=float(memory.norm(dim=-1).mean()),
        saturation=float((memory.abs() > SATURATED).float().mean()),
        effective_slots=float(effective_slots(memory[:NUM_DECOMPOSED]).mean()) if is_slots else None,
    )


def effective_slots(memory: Tensor) -> Tensor:
    """Return as how many different slots [b] those of memory [b slot feature] act; 0 where all are zero."""
    if not memory.isfinite().all():
        return torch.full((len(memory),), math.nan)
    energy = torch.linalg.svdvals(memory.double()).square()
    total = energy.sum(-1, keepdim=True)
    shares = energy / total.clamp(min=torch.finfo(energy.dtype).tiny)
    return torch.special.entr(shares).sum(-1).exp() * (total.squeeze(-1) > 0)


def complaints(found: Utilisation, *, is_slots: bool) -> list[str]:
    """Return what is unhealthy, one phrase each; the norm is judged of slots alone."""
    if not (math.isfinite(found.norm) and math.isfinite(found.saturation)):
        return ["values that are not finite"]
    said = []
    if is_slots:
        said += _outside("norm", found.norm, HEALTHY_NORM, "{:.2f}")
    return said + _outside("saturation", found.saturation, HEALTHY_SATURATION, "{:.0%}")


def _outside(name: str, value: float, limits: tuple[float, float], form: str) -> list[str]:
    low, high = limits
    if low <= value <= high:
        return []
    side, limit = ("below", low) if value < low else ("above", high)
    return [f"{name} {form.format(value)}, {side} {form.format(limit)}"]


@torch.no_grad()
def utilisation_at_end(memory: Memory, x: Tensor) -> Utilisation:
    """Return the utilisation after the last of some inputs [b t i]: of the slots, else of `hidden`.

    Of several sets of slots, the mean. Draws nothing at random and changes nothing.
    """
    state, trace = memory.initial_state(len(x)), Trace()
    # By `forward`, so that a memory that is compiled is not compiled again for this.
    if x.shape[1] > 1:  # slots at every step would take much memory over a long episode
        _, state = memory.forward(x[:, :-1], state)
    _, state = memory.forward(x[:, -1:], state, trace=trace)
    parts = [utilisation(slots[:, -1]) for slots in trace.get("memory", [])] or [utilisation(state["hidden"])]
    norms, saturations, _ = zip(*parts, strict=True)
    return Utilisation(sum(norms) / len(parts), sum(saturations) / len(parts))
