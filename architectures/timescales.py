"""Initial time constants of gated recurrent units.

A unit whose carry gate stands at g forgets with a time constant of T = 1 / (1 - g) steps. Biases near zero
mean g = 1/2 and two steps. Chrono initialisation (Tallec and Ollivier 2018, arXiv 1804.11188, section 3)
sets the bias so that the time constants cover the delays to be bridged, b = log(T - 1). Deviation: T is
drawn log-uniformly, not uniformly, so that short delays keep their share of units whatever the upper end;
the range is fixed for all tasks and not set from the delay under test.
"""

import math
from typing import TypeAlias

import torch
from torch import Tensor

Timescales: TypeAlias = tuple[float, float]
"""Shortest and longest time constant in steps."""

GATE_TIMESCALES = ({"gate_timescales": (2.0, 1000.0)}, {"gate_timescales": (10.0, 3000.0)})
TIMESCALES = ({"timescales": (2.0, 1000.0)}, {"timescales": (10.0, 3000.0)})
STEP_SIZES = ({"step_sizes": (0.001, 0.1)}, {"step_sizes": (0.0003, 0.1)})
"""What `membench tune` chooses from, by the name of the option: of gates, of other things that decay, and of
state spaces, whose memory lasts about one over the step size."""


def log_uniform(
    num_units: int, limits: tuple[float, float], option: str = "timescales", above: float = 1.0
) -> Tensor:
    """Draw numbers [num_units] log-uniformly.

    Raises:
        ValueError: for limits that are not above `above`, by the name of the `option` that it was given as.
    """
    least, most = limits
    if not above < least <= most < math.inf:
        raise ValueError(f"{option} {limits}: must be two numbers, {above:g} < least <= most")
    return torch.empty(num_units).uniform_(math.log(least), math.log(most)).exp()


def carry_gate_bias(num_units: int, timescales: Timescales) -> Tensor:
    """Draw a carry gate's bias [num_units] with time constants log-uniform over `timescales`.

    Raises:
        ValueError: for a range that is not one.
    """
    return torch.log(log_uniform(num_units, timescales, "gate_timescales") - 1)


def step_size_bias(num_channels: int, step_sizes: tuple[float, float]) -> Tensor:
    """Draw biases [num_channels] whose softplus is log-uniform over the range `step_sizes`.

    Raises:
        ValueError: for a range that is not one.
    """
    drawn = log_uniform(num_channels, step_sizes, "step_sizes", above=0.0)
    return drawn + torch.log(-torch.expm1(-drawn))
