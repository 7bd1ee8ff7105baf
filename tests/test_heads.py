"""Policy heads against `torch.distributions`, an independent implementation."""

import pytest
import torch
from torch.distributions import Categorical, Normal

from membench.heads import CategoricalHead, GaussianHead


@pytest.fixture
def gaussian():
    head = GaussianHead(3)
    with torch.no_grad():
        head.log_std.copy_(torch.tensor([-0.5, 0.0, 0.7]))
    return head


def test_categorical_log_prob_and_entropy():
    head, outputs = CategoricalHead(), torch.randn(5, 7, 3)
    reference = Categorical(logits=outputs)
    actions = reference.sample()
    torch.testing.assert_close(head.log_prob(outputs, actions), reference.log_prob(actions))
    torch.testing.assert_close(head.entropy(outputs), reference.entropy())


def test_gaussian_log_prob_and_entropy(gaussian):
    outputs = torch.randn(5, 7, 3)
    reference = Normal(outputs, gaussian.log_std.exp())
    actions = reference.sample()
    torch.testing.assert_close(gaussian.log_prob(outputs, actions), reference.log_prob(actions).sum(-1))
    torch.testing.assert_close(gaussian.entropy(outputs), reference.entropy().sum(-1))


def test_categorical_samples_follow_the_softmax():
    head, outputs = CategoricalHead(), torch.tensor([0.0, 1.0, 2.0]).expand(40_000, 3)
    noise = head.draw_noise((40_000, 3), torch.Generator().manual_seed(0))
    shares = head.sample(outputs, noise).bincount() / 40_000
    torch.testing.assert_close(shares, outputs[0].softmax(0), atol=4 * 0.0025, rtol=0)


def test_gaussian_samples_have_the_learned_spread(gaussian):
    noise = gaussian.draw_noise((40_000, 3), torch.Generator().manual_seed(0))
    samples = gaussian.sample(torch.ones(40_000, 3), noise)
    torch.testing.assert_close(samples.mean(0), torch.ones(3), atol=0.05, rtol=0)
    torch.testing.assert_close(samples.std(0), gaussian.log_std.exp(), atol=0.05, rtol=0)


def test_zero_noise_is_greedy(gaussian):
    outputs = torch.randn(6, 3)
    assert torch.equal(CategoricalHead().sample(outputs, torch.zeros(6, 3)), outputs.argmax(-1))
    assert torch.equal(gaussian.sample(outputs, torch.zeros(6, 3)), outputs)
