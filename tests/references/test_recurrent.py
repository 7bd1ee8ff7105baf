"""Recurrent cells, gated and linear, against other implementations; see `agreement`."""

from contextlib import contextmanager

import LRU_pytorch
import torch
from agreement import (
    HEADS,
    HIDDEN,
    INPUTS,
    ROWS,
    assert_agree,
    both_starts,
    dtypes,
    leaf,
    lengths,
    run,
    weights,
)
from minGRU_pytorch import minGRU
from torchrecurrent import FastRNN, PeepholeLSTM
from xlstm.blocks.slstm.src.vanilla import slstm_forward, slstm_forward_pointwise_slstm

from architectures.gru import GRU
from architectures.lru import LRUMixer
from architectures.lstm import LSTM
from architectures.min_gru import MinGRUMixer
from architectures.rnn import RNN
from architectures.slstm import SLSTMMixer
from architectures.stacked_layers import layers_first


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


@lengths
@dtypes
@both_starts
def test_min_gru(num_steps, dtype, from_zero):
    """It has no biases and computes in the logarithms of its units' values, which must be positive.

    In float32 they would leave four digits of its gradients over 130 steps: it always computes in float64.
    """
    mixer = MinGRUMixer(HIDDEN, None)
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


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@lengths
@dtypes
def test_lru(num_steps, dtype):
    """Its D is a matrix, here a diagonal one. It returns no state and takes one for a single row."""
    mixer = LRUMixer(HIDDEN, 5, (2.0, 1000.0), 0.3)
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
