"""Mamba and Mamba-2 against other implementations; see `agreement`."""

import pytest
import torch
from agreement import ROWS, assert_agree, leaf, lend, lengths, run, weights
from mambapy.mamba import MambaBlock, MambaConfig
from niverel_mamba.torch import Mamba2 as ReferenceMamba2
from niverel_mamba.torch import Mamba2Config, Mamba2State

from architectures.mamba import Mixer as MambaMixer
from architectures.mamba2 import Mamba2Mixer


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
