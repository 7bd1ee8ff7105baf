"""Retention probes: from which parts of the state can the answer be read off, step by step?

A probe is a linear classifier, multinomial logistic regression, of the right answer from the state, trained
on some episodes and tested on others. Its accuracy over the delay is the forgetting curve: where it falls,
memory is lost; where it stays at 1 while the agent answers wrongly, the policy is at fault.

Observations of a silent delay have no noise, and neither then has the state: a linear classifier would tell
cues apart by the last bit that differs. So the probe reads with a limited precision: Gaussian noise of
`PRECISION` of the root mean square of what it reads is added to every number, in training and in testing.

The loss is the mean cross-entropy plus a small ridge, which is convex. SciPy's L-BFGS, which scikit-learn's
logistic regression calls too, minimises it for all steps at once.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

PRECISION = 0.01
RIDGE = 1e-3
MOST_ITERATIONS = 100

GOOD = 0.95
"""Accuracy from which something is called remembered: that from which a task is called solved."""


@dataclass(frozen=True)
class Retention:
    """How well the answer can be read off one part of the state.

    Attributes:
        steps: the steps looked at.
        accuracy: [t] share of right answers on the test episodes.
        chance: the share of the commonest answer among them.
        num_tested: test episodes.
    """

    steps: list[int]
    accuracy: Tensor
    chance: float
    num_tested: int

    @property
    def lost_at(self) -> int | None:
        """The first step from which on accuracy never is `GOOD` again; None if it ends so, or never was."""
        kept = [step for step, share in zip(self.steps, self.accuracy.tolist(), strict=True) if share >= GOOD]
        if not kept or kept[-1] == self.steps[-1]:
            return None
        return self.steps[self.steps.index(kept[-1]) + 1]


def readable(numbers: Tensor, num_train: int, generator: torch.Generator) -> Tensor:
    """Return what a reader of limited precision gets to see of numbers [b f].

    Scaled to a root mean square of 1, with noise, centred on the training episodes, and rotated into the at
    most `num_train` directions that these span, beyond which no linear classifier can learn anything.
    """
    numbers = numbers.float()
    size = float(torch.linalg.vector_norm(numbers)) / math.sqrt(numbers.numel())
    if not math.isfinite(size):
        return torch.zeros(len(numbers), num_train)
    if size > 0:
        noise = torch.randn(numbers.shape, generator=generator)
        numbers = noise.mul_(PRECISION).add_(numbers, alpha=1 / size)
    numbers = numbers - numbers[:num_train].mean(0)
    if numbers.shape[1] > num_train:
        return _rotated(numbers, num_train)
    return F.pad(numbers, (0, num_train - numbers.shape[1]))


def _rotated(numbers: Tensor, num_train: int) -> Tensor:
    """Return numbers [b f] in the directions [b num_train] that the training episodes span.

    With N the training episodes' numbers and N N^T = U S U^T, these are the columns of N^T U S^(-1/2). They
    are as long as the numbers are many, and so are never computed: only their products with the numbers are.
    """
    products = (numbers @ numbers[:num_train].T).double()
    squares, directions = torch.linalg.eigh(products[:num_train])
    spanned = squares > squares[-1] * torch.finfo(numbers.dtype).eps  # centred numbers span one fewer
    return (products @ directions * torch.where(spanned, squares.rsqrt(), 0.0)).float()


def probe(readings: Tensor, answers: Tensor, num_train: int) -> Tensor:
    """Return the accuracy [t] of a probe per step.

    Args:
        readings: [t b f], from `readable`; the first `num_train` episodes train.
        answers: [b].
        num_train: training episodes.
    """
    classes, labels = answers.unique(return_inverse=True)
    if len(classes) < 2:
        return torch.ones(len(readings))
    weights = fit(readings[:, :num_train], labels[:num_train], len(classes))
    guesses = scores(readings[:, num_train:], weights).argmax(-1)
    return (guesses == labels[num_train:]).float().mean(1)


def scores(readings: Tensor, weights: Tensor) -> Tensor:
    """Return the scores [t b class] of weights [t f+1 class], the last row of which are biases."""
    return torch.baddbmm(weights[:, -1:], readings, weights[:, :-1])


def fit(readings: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return the weights [t f+1 class] of one logistic regression per step, of labels [b] on [t b f]."""
    num_steps, num_episodes, num_features = readings.shape
    shape, targets = (num_steps, num_features + 1, num_classes), labels.expand(num_steps, -1).flatten()

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(flat.astype(np.float32)).view(shape).requires_grad_()
        cross_entropy = F.cross_entropy(scores(readings, weights).flatten(0, 1), targets, reduction="sum")
        loss = cross_entropy / num_episodes + RIDGE * weights[:, :-1].square().sum()
        (gradient,) = torch.autograd.grad(loss, weights)
        return float(loss.detach()), gradient.flatten().double().numpy()

    start = np.zeros(math.prod(shape))
    options = {"maxiter": MOST_ITERATIONS}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(found.x).float().view(shape)
