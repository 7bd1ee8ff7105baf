"""Memories against implementations that were not written for this project, with the same weights.

What both return, and the gradients for the inputs, the initial state and every weight that both have, must
agree, in float32 and, where the other side computes in it, in float64. The difference of b from a is
|a - b| / (1 + |a|), absolute for small numbers and relative for large ones; of gradients, which are sums over
time, it is relative to the largest.

    pytest tests/references -rP

prints the largest differences; docs/architectures.md holds them, and says what was switched off for each.
"""

from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.func import functional_call

ROWS, INPUTS, HIDDEN, HEADS = 3, 4, 8, 2
SIZE = HIDDEN // HEADS
TOLERANCES = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-9, 1e-9)}
"""Of outputs and of gradients."""

# One step, a few, many, and more than two of the chunks that `architectures.matrix_memory` computes in.
lengths = pytest.mark.parametrize("num_steps", [1, 7, 40, 130])
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=["float32", "float64"])
both_starts = pytest.mark.parametrize("from_zero", [True, False], ids=["from zero", "from a state"])


LARGEST = defaultdict(lambda: [0.0, 0.0])
"""Differences of outputs and of gradients, by architecture, reference and type."""


def assert_agree(architecture, reference, ours, theirs, given):
    """Demand that two lists of outputs agree, and their gradients for what is given; note the largest."""
    dtype = ours[0].dtype
    directions = [torch.randn_like(output) for output in ours]
    gradients, expected = (
        torch.autograd.grad(outputs, list(given.values()), directions) for outputs in (ours, theirs)
    )
    if given["x"].shape[1] > 1:  # before the first step there may be nothing to forget
        idle = [name for name, g in zip(given, expected, strict=True) if not g.abs().max() > 1e-4]
        assert not idle, "changes next to nothing, so that agreement would prove nothing"
    outputs = [difference(*pair) for pair in zip(theirs, ours, strict=True)]
    by_name = {
        name: difference_of_sums(*pair) for name, *pair in zip(given, expected, gradients, strict=True)
    }
    largest = LARGEST[architecture, reference, str(dtype).removeprefix("torch.")]
    largest[:] = max(largest[0], *outputs), max(largest[1], *by_name.values())
    of_outputs, of_gradients = TOLERANCES[dtype]
    assert all(value <= of_outputs for value in outputs), outputs
    assert all(value <= of_gradients for value in by_name.values()), by_name


def difference(expected, actual):
    assert expected.shape == actual.shape
    return float(((expected - actual).abs() / (1 + expected.abs())).max().detach())


def difference_of_sums(expected, actual):
    """Return the difference relative to the largest number: single ones of a sum over time may cancel."""
    return float((expected - actual).abs().max() / expected.abs().max().clamp(min=1))


def leaf(*shape, dtype, scale=1.0):
    """Return random numbers that gradients are asked for."""
    return (scale * torch.randn(*shape, dtype=dtype)).requires_grad_()


def weights(module, dtype, *, without=()):
    """Move every weight of `module` off special values such as 0 and 1, but those in `without` to zero.

    Returns:
        The weights, by name, but those.
    """
    module.to(dtype)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith(tuple(without)):
                weight.zero_()
            else:
                weight += 0.1 * torch.randn_like(weight)
    return {name: weight for name, weight in module.named_parameters() if not name.endswith(tuple(without))}


class Lent(nn.Module):
    """A module that a function is called with; what `functional_call` can lend weights to."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, function):
        return function(self.module)


def lend(weights, module, function):
    """Return `function(module)` while it has these weights and no others of its own.

    They may be computed from ours: gradients flow back through the mapping.
    """
    lent = {f"module.{name}": weight for name, weight in weights.items()}
    return functional_call(Lent(module), lent, (function,), strict=True)


def run(weights, module, *args):
    """Return `module(*args)` while it has these weights and no others."""
    return lend(weights, module, lambda module: module(*args))
