"""Memories against implementations that were not written for this project, with the same weights.

What both return, and the gradients for the inputs, the initial state and every weight that both have, must
agree, in float32 and, where the other side computes in it, in float64. The difference of b from a is
|a - b| / (1 + |a|), absolute for small numbers and relative for large ones; of gradients, which are sums over
time, it is relative to the largest.

    pytest tests/test_references.py -rP

prints the largest differences; docs/architectures.md holds them, and says what was switched off for each.
"""

import importlib.util
import tomllib
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import LRU_pytorch
import pytest
import torch
from dnc.memory import Memory as DNCMemory
from mambapy.mamba import MambaBlock, MambaConfig
from minGRU_pytorch import minGRU
from niverel_mamba.torch import Mamba2 as ReferenceMamba2
from niverel_mamba.torch import Mamba2Config, Mamba2State
from torch import nn
from torch.func import functional_call
from torchrecurrent import FastRNN, PeepholeLSTM
from xlstm.blocks.mlstm.backends import parallel_stabilized_simple, recurrent_step_stabilized_simple
from xlstm.blocks.slstm.src.vanilla import slstm_forward, slstm_forward_pointwise_slstm

from architectures.dnc import DNC, Interface
from architectures.gated_delta_net import GatedDeltaMixer
from architectures.gru import GRU
from architectures.gtrxl import GTrXL
from architectures.linear_attention import LinearAttentionMixer, split_heads
from architectures.lru import LRUMixer
from architectures.lstm import LSTM
from architectures.mamba import Mixer as MambaMixer
from architectures.mamba2 import Mamba2Mixer
from architectures.min_gru import MinGRUMixer
from architectures.mlstm import MLSTMMixer
from architectures.rnn import RNN
from architectures.slstm import SLSTMMixer
from architectures.transformer import Transformer

ROOT = Path(__file__).parents[1]
ROWS, INPUTS, HIDDEN, HEADS = 3, 4, 8, 2
SIZE = HIDDEN // HEADS
TOLERANCES = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-9, 1e-9)}
"""Of outputs and of gradients."""

# One step, a few, many, and more than two of the chunks that `architectures.matrix_memory` computes in.
lengths = pytest.mark.parametrize("num_steps", [1, 7, 40, 130])
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=["float32", "float64"])
both_starts = pytest.mark.parametrize("from_zero", [True, False], ids=["from zero", "from a state"])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


LARGEST = defaultdict(lambda: [0.0, 0.0])
"""Differences of outputs and of gradients, by architecture, reference and type."""


@pytest.fixture(scope="module", autouse=True)
def printed():
    yield
    print("| architecture | compared with | type | outputs | gradients |\n| --- | --- | --- | --- | --- |")
    for (architecture, reference, dtype), (outputs, gradients) in sorted(LARGEST.items()):
        print(f"| `{architecture}` | {reference} | {dtype} | {outputs:.1e} | {gradients:.1e} |")


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


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


def load(package, path):
    """Return the module in a file of a package whose own __init__ would ask for a GPU's compiler."""
    folder = Path(importlib.util.find_spec(package).origin).parent
    spec = importlib.util.spec_from_file_location(Path(path).stem, folder / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def layers_first(state):
    """Return `lower` and `hidden` of a stack of recurrent layers as PyTorch has them [layer b h]."""
    return torch.cat([state["lower"], state["hidden"].unsqueeze(1)], dim=1).transpose(0, 1).contiguous()


def stack_state(dtype):
    """Return the state of two recurrent layers."""
    return {"hidden": leaf(ROWS, HIDDEN, dtype=dtype), "lower": leaf(ROWS, 1, HIDDEN, dtype=dtype)}


@lengths
@dtypes
def test_gru(num_steps, dtype):
    """Our weights are those of PyTorch's layer; a function of our own runs more than one step."""
    memory = GRU(INPUTS, hidden_size=HIDDEN)
    given = weights(memory, dtype) | stack_state(dtype) | {"x": leaf(ROWS, num_steps, INPUTS, dtype=dtype)}
    y, after = memory(given["x"], given)
    expected, last = memory.gru(given["x"], layers_first(given))
    assert_agree("gru", "torch.nn.GRU", [y, layers_first(after)], [expected, last], given)


@lengths
@dtypes
def test_lstm(num_steps, dtype):
    """An LSTM whose gates also see the cell through peepholes, which are shut."""
    memory = LSTM(INPUTS, hidden_size=HIDDEN)
    given = weights(memory, dtype) | stack_state(dtype) | {"x": leaf(ROWS, num_steps, INPUTS, dtype=dtype)}
    given["cell"] = leaf(ROWS, 2, HIDDEN, dtype=dtype)
    lent = {}
    for layer in range(2):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            lent[f"cells.{layer}.{name}"] = getattr(memory.lstm, f"{name}_l{layer}")
        lent[f"cells.{layer}.weight_ph"] = torch.zeros(3 * HIDDEN, dtype=dtype)
    y, after = memory(given["x"], given)
    reference = PeepholeLSTM(INPUTS, HIDDEN, num_layers=2, batch_first=True)
    state = layers_first(given), given["cell"].transpose(0, 1)
    expected, (hidden, cell) = run(lent, reference, given["x"], state)
    ours = [y, layers_first(after), after["cell"].transpose(0, 1)]
    assert_agree("lstm", "torchrecurrent PeepholeLSTM", ours, [expected, hidden, cell], given)


@lengths
@dtypes
def test_rnn(num_steps, dtype):
    """FastRNN weighs the new state and the one before with sigmoids of alpha and beta, here 1 and 0."""
    memory = RNN(INPUTS, hidden_size=HIDDEN, num_layers=2)
    given = weights(memory, dtype) | stack_state(dtype) | {"x": leaf(ROWS, num_steps, INPUTS, dtype=dtype)}
    lent = {}
    for layer in range(2):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            lent[f"cells.{layer}.{name}"] = getattr(memory.rnn, f"{name}_l{layer}")
        lent[f"cells.{layer}.alpha"] = torch.full((1,), 100.0, dtype=dtype)
        lent[f"cells.{layer}.beta"] = torch.full((1,), -1000.0, dtype=dtype)
    y, after = memory(given["x"], given)
    reference = FastRNN(INPUTS, HIDDEN, num_layers=2, batch_first=True)
    expected, hidden = run(lent, reference, given["x"], layers_first(given))
    assert_agree("rnn", "torchrecurrent FastRNN", [y, layers_first(after)], [expected, hidden], given)


@lengths
@dtypes
@both_starts
def test_min_gru(num_steps, dtype, from_zero):
    """It has no biases and computes in the logarithms of its units' values, which must be positive.

    In float32 they would leave four digits of its gradients over 130 steps: it always computes in float64.
    """
    mixer = MinGRUMixer(HIDDEN)
    given = weights(mixer, dtype, without=["gate.bias"])
    given["x"] = leaf(ROWS, num_steps, HIDDEN, dtype=dtype)
    h, before = torch.zeros(ROWS, HIDDEN, dtype=dtype), None
    if not from_zero:
        given["h"] = h = torch.rand(ROWS, HIDDEN, dtype=dtype, requires_grad=True)
        before = h.double().unsqueeze(1)
    lent = {
        "to_hidden_and_gate.weight": torch.cat([mixer.candidate.weight, mixer.gate.weight]).double(),
        "to_out.weight": mixer.output.weight.double(),
    }
    y, after = mixer(given["x"], {"h": h})
    expected = run(lent, minGRU(HIDDEN, proj_out=True), given["x"].double(), before, True)
    expected, last = (part.to(dtype) for part in expected)
    assert_agree("min_gru", "minGRU-pytorch", [y, after["h"]], [expected, last.squeeze(1)], given)


@lengths
@dtypes
def test_lru(num_steps, dtype):
    """Its D is a matrix, here a diagonal one. It returns no state and takes one for a single row."""
    mixer = LRUMixer(HIDDEN, state_size=5)
    given = weights(mixer, dtype)
    given |= {"x": leaf(ROWS, num_steps, HIDDEN, dtype=dtype), "state": leaf(ROWS, 5, 2, dtype=dtype)}
    y, _ = mixer.run(given["x"], given["state"])
    del given["gated.weight"], given["gated.bias"]  # behind the unit
    lent = {name: given[name] for name in ("nu_log", "theta_log", "gamma_log")}
    lent |= {"D": mixer.D.diag(), "B": torch.view_as_complex(mixer.B), "C": torch.view_as_complex(mixer.C)}
    rows = zip(given["x"], torch.view_as_complex(given["state"]), strict=True)
    with default_dtype(dtype):  # in which it allocates its outputs
        reference = LRU_pytorch.LRU(HIDDEN, HIDDEN, 5)
        expected = torch.stack([run(lent, reference, x, state) for x, state in rows])
    assert_agree("lru", "LRU-pytorch", [y], [expected], given)


def run_step_by_step(module, x, state):
    """Return the outputs of a package's `step` [b t h], and the state after the last."""
    outputs = []
    for x_t in x.unbind(1):
        y, state = module.step(x_t, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def mamba():
    mixer = MambaMixer(16, 6, 2, 4, (0.001, 0.1), mamba_ssm=True)
    reference = MambaBlock(MambaConfig(d_model=16, n_layers=1, d_state=6, pscan=False))
    return mixer, reference, weights(mixer, torch.float32)


@lengths
def test_mamba(num_steps):
    """With `mamba_ssm=True`, which leaves our biases out. It computes in float32 only."""
    mixer, reference, given = mamba()
    lent = dict(given)
    given["x"] = leaf(ROWS, num_steps, 16, dtype=torch.float32)
    y, _, _ = mixer(given["x"], torch.zeros(ROWS, 32, 3), torch.zeros(ROWS, 32, 6))
    assert_agree("mamba", "mambapy", [y], [run(lent, reference, given["x"])], given)


@lengths
def test_mamba_steps_from_a_state(num_steps):
    mixer, reference, given = mamba()
    lent = dict(given)
    given |= {
        "x": leaf(ROWS, num_steps, 16, dtype=torch.float32),
        "convolution": leaf(ROWS, 32, 3, dtype=torch.float32),
        "ssm": leaf(ROWS, 32, 6, dtype=torch.float32),
    }

    def steps(block):
        return run_step_by_step(block, given["x"], (given["ssm"], given["convolution"]))

    y, convolution, ssm = mixer(given["x"], given["convolution"], given["ssm"])
    expected, last = lend(lent, reference, steps)
    assert_agree("mamba", "mambapy", [y, ssm, convolution], [expected, *last], given)


def test_mamba_s_shapes_are_those_of_mamba_ssm():
    shapes = {
        name: tuple(p.shape)
        for name, p in MambaMixer(32, 8, 2, 4, (0.001, 0.1), mamba_ssm=True).named_parameters()
    }
    assert shapes == {
        "A_log": (64, 8),
        "D": (64,),
        "in_proj.weight": (128, 32),
        "conv1d.weight": (64, 1, 4),
        "conv1d.bias": (64,),
        "x_proj.weight": (18, 64),
        "dt_proj.weight": (64, 2),
        "dt_proj.bias": (64,),
        "out_proj.weight": (32, 64),
    }


def mamba2():
    mixer = Mamba2Mixer(16, 4, 6, 2, 4, (0.001, 0.1))
    config = Mamba2Config(d_model=16, d_state=6, d_conv=4, expand=2, headdim=8, conv_bias=False)
    given = weights(mixer, torch.float32, without=["gate_bias", "readout_bias"])
    return mixer, ReferenceMamba2(config, ssd_impl="sequential"), given


@lengths
def test_mamba2(num_steps):
    """Without the biases of the gate and of what reads. It computes A in float32 only."""
    mixer, reference, given = mamba2()
    lent = dict(given)
    given["x"] = leaf(ROWS, num_steps, 16, dtype=torch.float32)
    given["ssm"] = leaf(ROWS, 4, 6, 8, dtype=torch.float32)
    y, after = mixer(given["x"], {"ssm": given["ssm"], "convolution": torch.zeros(ROWS, 44, 3)})
    start = {"initial_states": given["ssm"].mT, "return_final_state": True}
    expected, last = lend(lent, reference, lambda module: module(given["x"], **start))
    assert_agree("mamba2", "niverel-mamba", [y, after["ssm"]], [expected, last.mT], given)


@lengths
def test_mamba2_steps_from_a_state(num_steps):
    mixer, reference, given = mamba2()
    lent = dict(given)
    given |= {
        "x": leaf(ROWS, num_steps, 16, dtype=torch.float32),
        "convolution": leaf(ROWS, 44, 3, dtype=torch.float32),
        "ssm": leaf(ROWS, 4, 6, 8, dtype=torch.float32),
    }

    def steps(module):
        # It keeps as many inputs as the convolution is wide; the first of them has no more use.
        inputs = torch.nn.functional.pad(given["convolution"], (1, 0))
        nothing = torch.zeros(ROWS, dtype=torch.long)
        state = Mamba2State(inputs, given["ssm"].mT, nothing, nothing)
        return run_step_by_step(module, given["x"], state)

    y, after = mixer(given["x"], given)
    expected, last = lend(lent, reference, steps)
    theirs = [expected, last.ssm_state.mT, last.conv_state[..., 1:]]
    assert_agree("mamba2", "niverel-mamba", [y, after["ssm"], after["convolution"]], theirs, given)


@lengths
def test_mamba2_against_transformers(num_steps):
    """Too large to be asked for by an extra: run where it is there. In float32 only."""
    package = pytest.importorskip("transformers.models.mamba2")
    mixer, _, given = mamba2()
    config = package.Mamba2Config(
        hidden_size=16,
        num_heads=4,
        head_dim=8,
        state_size=6,
        expand=2,
        n_groups=1,
        chunk_size=64,
        use_conv_bias=False,
        layer_norm_epsilon=1e-5,
        num_hidden_layers=1,
    )
    reference = package.modeling_mamba2.Mamba2Mixer(config, 0).eval()
    lent = dict(given)
    given["x"] = leaf(ROWS, num_steps, 16, dtype=torch.float32)
    y, _ = mixer(given["x"], {"ssm": torch.zeros(ROWS, 4, 6, 8), "convolution": torch.zeros(ROWS, 44, 3)})
    assert_agree("mamba2", "transformers Mamba2Mixer", [y], [run(lent, reference, given["x"])], given)


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


@lengths
@dtypes
@both_starts
def test_slstm(num_steps, dtype, from_zero, monkeypatch):
    """Our layer around its cell; its candidate has a bias, here zero."""
    mixer = SLSTMMixer(HIDDEN, HEADS, (2.0, 100.0))
    given = weights(mixer, dtype) | {"x": leaf(ROWS, num_steps, HIDDEN, dtype=dtype)}
    state = {name: torch.zeros(ROWS, HIDDEN, dtype=dtype) for name in "hcnm"}
    if not from_zero:
        state = {name: leaf(ROWS, HIDDEN, dtype=dtype) for name in "hcm"}
        state["n"] = (0.5 + torch.rand(ROWS, HIDDEN, dtype=dtype)).requires_grad_()
        given |= state

    def run(inputs, state):
        i_bias, f_bias, o_bias = mixer.bias
        states, last, _ = slstm_forward(
            inputs.transpose(0, 1),
            torch.stack([state[name] for name in "hcnm"]),
            mixer.recurrent.mT,
            torch.cat([i_bias, f_bias, torch.zeros_like(i_bias), o_bias]),
            slstm_forward_pointwise_slstm,
        )
        return states[0, 1:].transpose(0, 1), dict(zip("hcnm", last, strict=True))

    y, after = mixer(given["x"], state)
    monkeypatch.setattr(mixer, "run", run)
    expected, last = mixer(given["x"], state)
    ours, theirs = ([y, *(state[name] for name in "hcnm")] for y, state in ((y, after), (expected, last)))
    assert_agree("slstm", "xlstm", ours, theirs, given)


def dnc_access(reference):
    """Return a function that stands in for `architectures.dnc.access` and has the package's memory access."""

    def access(interface: Interface, memory):
        hidden = {
            "memory": memory["slots"],
            "link_matrix": memory["links"].unsqueeze(1),
            "precedence": memory["precedence"].unsqueeze(1),
            "read_weights": memory["read"],
            "write_weights": memory["write"].unsqueeze(1),
            "usage_vector": memory["usage"],
        }
        strengths = interface.read_strengths.squeeze(-1)
        hidden = reference.write(
            interface.write_key,
            interface.value.unsqueeze(1),
            interface.erase.unsqueeze(1),
            interface.free_gates.squeeze(-1),
            strengths,
            interface.write_strength.squeeze(-1),
            interface.write_gate,
            interface.allocation_gate,
            hidden,
        )
        backward, content, forward = interface.read_modes.unbind(-1)
        modes = torch.stack([backward, forward, content], dim=-1)
        reads, hidden = reference.read(interface.read_keys, strengths, modes, hidden)
        return reads.flatten(1), {
            "slots": hidden["memory"],
            "links": hidden["link_matrix"].squeeze(1),
            "precedence": hidden["precedence"].squeeze(1),
            "read": hidden["read_weights"],
            "write": hidden["write_weights"].squeeze(1),
            "usage": hidden["usage_vector"],
        }

    return access


def dnc_state(memory, dtype):
    """Return a state in the middle of an episode: full slots, none of which is used as much as another."""
    slots, heads = (ROWS, memory.num_slots), memory.num_read_heads
    links = 0.5 * torch.rand(*slots, memory.num_slots, dtype=dtype).softmax(-1)
    return {
        "slots": leaf(*slots, memory.slot_size, dtype=dtype, scale=3.0),
        "read": torch.randn(ROWS, heads, memory.num_slots, dtype=dtype).softmax(-1).requires_grad_(),
        "write": torch.randn(*slots, dtype=dtype).softmax(-1).requires_grad_(),
        "usage": torch.rand(*slots, dtype=dtype, requires_grad=True),
        "precedence": torch.randn(*slots, dtype=dtype).softmax(-1).requires_grad_(),
        "links": (links * (1 - torch.eye(memory.num_slots, dtype=dtype))).requires_grad_(),
    }


@lengths
@dtypes
def test_dnc(num_steps, dtype, monkeypatch):
    """Our controller around its memory access.

    What keeps its cosine finite is 1e-6 added to the product of the lengths, what keeps ours is 1e-6 under
    each root. In float64 both are left out, in float32 the slots are long enough for them not to matter.
    Ours orders usage in steps, here too small to matter. Its allocation squeezes: one row would be too few.
    """
    monkeypatch.setattr("architectures.dnc.USAGE_STEP", 2.0**-60)
    memory = DNC(INPUTS, hidden_size=HIDDEN, num_slots=5, slot_size=4, num_read_heads=2)
    given = weights(memory, dtype) | {"x": leaf(ROWS, num_steps, INPUTS, dtype=dtype)}
    slots = dnc_state(memory, dtype)
    controller = {name: leaf(ROWS, HIDDEN, dtype=dtype) for name in ("hidden", "cell", "reads")}
    state = controller | {"memory": slots}
    given |= controller | slots
    reference = DNCMemory(1, mem_size=5, cell_size=4, read_heads=2)
    reference.I = 1 - torch.eye(5, dtype=dtype).unsqueeze(0)
    if dtype == torch.float64:
        monkeypatch.setattr("architectures.ntm.length", lambda x: x.norm(dim=-1, keepdim=True))
        monkeypatch.setattr("dnc.util.δ", 0.0)
    y, after = memory(given["x"], state)
    monkeypatch.setattr("architectures.dnc.access", dnc_access(reference))
    expected, last = memory(given["x"], state)
    ours, theirs = (
        [y, *(state["memory"][name] for name in slots)] for y, state in ((y, after), (expected, last))
    )
    assert_agree("dnc", "dnc", ours, theirs, given)


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


def test_the_page_names_every_reference_with_the_version_that_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "architectures.md").read_text()
    for pin in project["optional-dependencies"]["references"]:
        assert pin.replace("==", " ") in page
