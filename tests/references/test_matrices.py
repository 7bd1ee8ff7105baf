"""Matrix memories against other implementations; see `agreement`."""

import importlib.util
from pathlib import Path

import pytest
import torch
from agreement import (
    HEADS,
    HIDDEN,
    ROWS,
    SIZE,
    assert_agree,
    both_starts,
    dtypes,
    leaf,
    lengths,
    run,
    weights,
)
from xlstm.blocks.mlstm.backends import parallel_stabilized_simple, recurrent_step_stabilized_simple

from architectures.gated_delta_net import GatedDeltaMixer
from architectures.linear_attention import LinearAttentionMixer
from architectures.mlstm import MLSTMMixer
from architectures.residual_stack import split_heads


def load(package, path):
    """Return the module in a file of a package whose own __init__ would ask for a GPU's compiler."""
    folder = Path(importlib.util.find_spec(package).origin).parent
    spec = importlib.util.spec_from_file_location(Path(path).stem, folder / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lengths
@both_starts
def test_linear_attention(num_steps, from_zero):
    """The weights around its attention, in float32 only. It adds 1e-10 to the normaliser, we 1e-6."""
    naive = load("fla", "ops/linear_attn/naive.py").naive_recurrent_linear_attn
    mixer = LinearAttentionMixer(HIDDEN, HEADS)
    given = weights(mixer, torch.float32) | {"x": leaf(ROWS, num_steps, HIDDEN, dtype=torch.float32)}
    memory = torch.zeros(ROWS, HEADS, SIZE, SIZE + 1)
    if not from_zero:  # nothing negative, as the keys of a normaliser are
        given["memory"] = memory = torch.rand(ROWS, HEADS, SIZE, SIZE + 1, requires_grad=True)
    y, after = mixer(given["x"], {"memory": memory})
    q, k, v = (split_heads(part(given["x"]), HEADS) for part in (mixer.query, mixer.key, mixer.value))
    q, k = torch.nn.functional.elu(q) + 1, torch.nn.functional.elu(k) + 1
    state = memory[..., :-1], memory[..., -1].unsqueeze(1)
    reads, (content, normaliser) = naive(q, k, v, 1.0, state, True, normalize=True)
    last = torch.cat([content, normaliser.squeeze(1).unsqueeze(-1)], dim=-1)
    expected = mixer.output(reads.flatten(2))
    assert_agree("linear_attention", "fla-core", [y, after["memory"]], [expected, last], given)


@lengths
def test_gated_delta_net(num_steps, monkeypatch):
    """Our layer around its recurrence, in float32 only."""
    naive = load("fla", "ops/gated_delta_rule/naive.py").naive_recurrent_gated_delta_rule

    def correct_and_read(queries, keys, values, strengths, log_decays, memory):
        return naive(queries, keys, values, strengths, log_decays, 1.0, memory, output_final_state=True)

    mixer = GatedDeltaMixer(HIDDEN, HEADS, 4, (2.0, 100.0))
    given = weights(mixer, torch.float32) | {
        "x": leaf(ROWS, num_steps, HIDDEN, dtype=torch.float32),
        "memory": leaf(ROWS, HEADS, SIZE, SIZE, dtype=torch.float32),
        "convolution": leaf(ROWS, 3 * HIDDEN, 3, dtype=torch.float32),
    }
    y, after = mixer(given["x"], given)
    monkeypatch.setattr("architectures.gated_delta_net.correct_and_read", correct_and_read)
    expected, last = mixer(given["x"], given)
    assert_agree("gated_delta_net", "fla-core", [y, after["memory"]], [expected, last["memory"]], given)


@lengths
def test_gated_delta_net_against_transformers(num_steps):
    """The whole layer, without biases of queries, strengths and gate. As for Mamba-2, where it is there."""
    package = pytest.importorskip("transformers.models.qwen3_next")
    config = package.Qwen3NextConfig(
        hidden_size=HIDDEN,
        linear_num_key_heads=HEADS,
        linear_num_value_heads=HEADS,
        linear_key_head_dim=SIZE,
        linear_value_head_dim=SIZE,
        rms_norm_eps=1e-5,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
    )
    reference = package.modeling_qwen3_next.Qwen3NextGatedDeltaNet(config, 0).eval()
    mixer = GatedDeltaMixer(HIDDEN, HEADS, 4, (2.0, 100.0))
    given = weights(mixer, torch.float32, without=["query_bias", "strength.bias", "gate.bias"])
    given["x"] = leaf(ROWS, num_steps, HIDDEN, dtype=torch.float32)
    by_head = [
        weight.unflatten(0, (HEADS, SIZE))
        for weight in (*mixer.queries_keys_values.weight.chunk(3), mixer.gate.weight)
    ]
    lent = {
        "in_proj_qkvz.weight": torch.cat(by_head, dim=1).flatten(0, 1),
        "in_proj_ba.weight": torch.stack([mixer.strength.weight, mixer.decay.weight], dim=1).flatten(0, 1),
        "conv1d.weight": mixer.convolution.weight,
        "dt_bias": mixer.decay.bias,
        "A_log": mixer.rate_log,
        "norm.weight": mixer.norm.weight,
        "out_proj.weight": mixer.output.weight,
    }
    state = {name: torch.zeros(ROWS, *shape) for name, shape in mixer.state_shapes.items()}
    expected = run(lent, reference, given["x"])
    y, _ = mixer(given["x"], state)
    assert_agree("gated_delta_net", "transformers Qwen3NextGatedDeltaNet", [y], [expected], given)


def heads_first(x):
    """Return x [b t head d] as [b head t d]."""
    return x.transpose(1, 2)


def mlstm_layer(mixer, x, cell):
    """Run our layer around a cell that takes queries, keys, values and gates [b head t d or 1]."""
    q, k, v = (
        heads_first(split_heads(part(x), mixer.num_heads)) for part in (mixer.query, mixer.key, mixer.value)
    )
    gates = (heads_first(part(x).unsqueeze(-1)) for part in (mixer.input_gate, mixer.forget_gate))
    reads = cell(q, k, v, *gates)
    return mixer.output(mixer.output_gate(x).sigmoid() * mixer.norm(heads_first(reads)).flatten(2))


@lengths
@dtypes
def test_mlstm(num_steps, dtype):
    """Our layer around its cell, all steps at once, with nothing added to the normaliser."""
    mixer = MLSTMMixer(HIDDEN, HEADS, (2.0, 100.0))
    given = weights(mixer, dtype) | {"x": leaf(ROWS, num_steps, HIDDEN, dtype=dtype)}
    state = {name: torch.zeros(ROWS, *shape, dtype=dtype) for name, shape in mixer.state_shapes.items()}
    y, _ = mixer(given["x"], state)
    expected = mlstm_layer(mixer, given["x"], lambda *args: parallel_stabilized_simple(*args, eps=0.0))
    assert_agree("mlstm", "xlstm", [y], [expected], given)


@lengths
@dtypes
def test_mlstm_steps_from_a_state(num_steps, dtype):
    mixer = MLSTMMixer(HIDDEN, HEADS, (2.0, 100.0))
    given = weights(mixer, dtype) | {
        "x": leaf(ROWS, num_steps, HIDDEN, dtype=dtype),
        "memory": leaf(ROWS, HEADS, SIZE, SIZE + 1, dtype=dtype),
        "stabiliser": leaf(ROWS, HEADS, dtype=dtype),
    }
    C, n = given["memory"].split([SIZE, 1], dim=-1)
    state = [C, n, given["stabiliser"][..., None, None]]

    def steps(*sequences):
        reads = []
        for parts in zip(*(sequence.split(1, dim=2) for sequence in sequences), strict=True):
            # It squeezes what it is given in place.
            read, state[:] = recurrent_step_stabilized_simple(*state, *(x.clone() for x in parts), eps=0.0)
            reads.append(read)
        return torch.cat(reads, dim=2)

    y, after = mixer(given["x"], given)
    expected = mlstm_layer(mixer, given["x"], steps)
    C, n, m = state
    theirs = [expected, torch.cat([C, n], dim=-1), m.flatten(1)]
    assert_agree("mlstm", "xlstm", [y, after["memory"], after["stabiliser"]], theirs, given)
