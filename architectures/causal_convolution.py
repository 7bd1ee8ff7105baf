"""A convolution over time, channel by channel, that sees the present and a few past steps."""

import torch
from torch import Tensor, nn


def causal_convolution(convolution: nn.Conv1d, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve x [b t channel] over time with a depthwise `convolution` of some width.

    A sum of shifted products: PyTorch's convolution by channel takes several times as long on a CPU.

    Args:
        convolution: holds the weights [channel 1 width] and, if it has one, the bias.
        x: the inputs.
        before: [b channel width-1], the inputs before the first step.

    Returns:
        The outputs [b t channel] and the last width-1 inputs, for the next call.
    """
    padded = torch.cat([before.mT, x.to(before.dtype)], dim=1)
    num_steps = x.shape[1]
    first, *others = convolution.weight.squeeze(1).unbind(1)
    y = padded[:, :num_steps] * first
    for place, tap in enumerate(others, start=1):
        y = torch.addcmul(y, padded[:, place : place + num_steps], tap)
    return y if convolution.bias is None else y + convolution.bias, padded[:, num_steps:].mT
