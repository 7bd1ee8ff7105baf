"""Transformers against another implementation; see `agreement`."""

import pytest
import torch
from agreement import (
    HEADS,
    HIDDEN,
    INPUTS,
    ROWS,
    SIZE,
    assert_agree,
    dtypes,
    leaf,
    lend,
    lengths,
    run,
    weights,
)

from architectures.gtrxl import GTrXL
from architectures.transformer import Transformer


def decoder(memory, dtype):
    """Return the package's decoder of the shape of a transformer of ours, and the weights to lend it."""
    from x_transformers import Decoder  # takes seconds

    reference = Decoder(
        dim=HIDDEN,
        depth=len(memory.blocks),
        heads=HEADS,
        attn_dim_head=SIZE,
        # Its own softmax is in float32 whatever it is given; PyTorch's attention is not.
        attn_flash=dtype == torch.float64,
        rotary_pos_emb=True,
        rotary_emb_dim=SIZE,
        norm_add_unit_offset=False,
        gate_residual=isinstance(memory, GTrXL),
        verbose=False,
    )
    frequencies = 10_000.0 ** -(torch.arange(0, SIZE, 2, dtype=dtype) / SIZE)
    lent = {"final_norm.gamma": memory.final_norm.weight, "rotary_pos_emb.inv_freq": frequencies}
    for number, block in enumerate(memory.blocks):
        attention, feedforward = f"layers.{2 * number}", f"layers.{2 * number + 1}"
        q, k, v = block.queries_keys_values.weight.chunk(3)
        lent |= {
            f"{attention}.0.0.gamma": block.attention_norm.weight,
            f"{attention}.1.to_q.weight": neighbours(q),
            f"{attention}.1.to_k.weight": neighbours(k),
            f"{attention}.1.to_v.weight": v,
            f"{attention}.1.to_out.weight": block.attention_output.weight,
            f"{feedforward}.0.0.gamma": block.feedforward_norm.weight,
        }
        lent |= {f"{feedforward}.1.ff.0.0.{name}": p for name, p in block.expand.named_parameters()}
        lent |= {f"{feedforward}.1.ff.2.{name}": p for name, p in block.contract.named_parameters()}
        if isinstance(memory, GTrXL):
            for place, gate in ((attention, block.attention_gate), (feedforward, block.feedforward_gate)):
                lent |= {f"{place}.2.gru.{name}": p for name, p in gate.cell.named_parameters()}
    return reference, lent


def neighbours(weight):
    """Return the weights of queries or keys with features i and i + d/2, which we rotate, side by side."""
    return weight.unflatten(0, (HEADS, 2, -1)).transpose(1, 2).flatten(0, 2)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("memory_class", [Transformer, GTrXL])
@lengths
@dtypes
def test_transformers(memory_class, num_steps, dtype):
    """Without biases of queries and norms, which it does not have. Our embedding comes first in both."""
    memory = memory_class(INPUTS, hidden_size=HIDDEN, num_layers=2, num_heads=HEADS, context_length=num_steps)
    given = weights(memory, dtype, without=["query_bias", "norm.bias"])
    given["x"] = leaf(ROWS, num_steps, INPUTS, dtype=dtype)
    reference, lent = decoder(memory, dtype)
    y, _ = memory(given["x"], memory.initial_state(ROWS))
    expected = run(lent, reference, memory.embedding(given["x"]))
    assert_agree(memory_class.__name__.lower(), "x-transformers", [y], [expected], given)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("memory_class", [Transformer, GTrXL])
@dtypes
def test_transformers_step_with_a_cache(memory_class, dtype):
    num_steps, num_before = 12, 5
    memory = memory_class(INPUTS, hidden_size=HIDDEN, num_layers=2, num_heads=HEADS, context_length=num_steps)
    given = weights(memory, dtype, without=["query_bias", "norm.bias"])
    given["x"] = leaf(ROWS, num_steps, INPUTS, dtype=dtype)
    reference, lent = decoder(memory, dtype)

    def steps(module):
        embedded = memory.embedding(given["x"])
        y, cache = module(embedded[:, :num_before], return_hiddens=True)
        outputs = [y]
        for after in range(num_before + 1, num_steps + 1):
            y, cache = module(embedded[:, :after], cache=cache, return_hiddens=True)
            outputs.append(y)
        return torch.cat(outputs, dim=1)

    y, state = memory(given["x"][:, :num_before], memory.initial_state(ROWS))
    outputs = [y]
    for x in given["x"][:, num_before:].unbind(1):
        y, state = memory.step(x, state)
        outputs.append(y.unsqueeze(1))
    expected = lend(lent, reference, steps)
    assert_agree(
        memory_class.__name__.lower(), "x-transformers", [torch.cat(outputs, dim=1)], [expected], given
    )
