"""PyTorch's stacks of recurrent layers on the contract, whose `hidden` is the last layer's state."""

import torch
from torch import Tensor, nn

from membench.memory import Memory, State


def zero_layers(memory: Memory, layers: nn.RNNBase, batch_size: int) -> State:
    """Return zeros for the layers of `memory`: `hidden` [b h] and `lower` [b layer-1 h]."""
    size = layers.hidden_size
    return {
        "hidden": memory.zeros(batch_size, size),
        "lower": memory.zeros(batch_size, layers.num_layers - 1, size),
    }


def layers_first(state: State) -> Tensor:
    """Return `lower` and `hidden` as PyTorch has them [layer b h]."""
    return torch.cat([state["lower"], state["hidden"].unsqueeze(1)], dim=1).transpose(0, 1).contiguous()


def layers_last(hidden: Tensor) -> State:
    """Return PyTorch's [layer b h] as `hidden` and `lower`."""
    return {"hidden": hidden[-1], "lower": hidden[:-1].transpose(0, 1)}
