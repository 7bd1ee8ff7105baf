"""Each memory against a naive loop written from its equations."""

import math

import pytest
import torch

from architectures.gru import GRU
from architectures.gru_pmm import GRUPMM, PredictiveMemoryModule
from architectures.lstm import LSTM
from architectures.mamba import Mamba
from architectures.pmm_addressed import AddressedPMM
from architectures.selective_scan import selective_scan, selective_scan_reference
from architectures.transformer import Transformer

ROWS, STEPS, INPUTS = 3, 7, 4


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def run(memory, x):
    return memory(x, memory.initial_state(len(x)))[0]


def layers(rnn):
    for layer in range(rnn.num_layers):
        yield [getattr(rnn, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def test_gru_computes_its_docstring():
    memory = GRU(INPUTS, hidden_size=6).double()
    x = torch.randn(ROWS, STEPS, INPUTS).double()
    y = x
    for W, U, b, c in layers(memory.gru):
        h, outputs = torch.zeros(ROWS, 6).double(), []
        for x_t in y.unbind(1):
            (W_r, W_z, W_n), (U_r, U_z, U_n) = (x_t @ W.T + b).chunk(3, 1), (h @ U.T + c).chunk(3, 1)
            z = torch.sigmoid(W_z + U_z)
            h = (1 - z) * torch.tanh(W_n + torch.sigmoid(W_r + U_r) * U_n) + z * h
            outputs.append(h)
        y = torch.stack(outputs, 1)
    torch.testing.assert_close(run(memory, x), y)


def test_lstm_computes_its_docstring():
    memory = LSTM(INPUTS, hidden_size=6).double()
    x = torch.randn(ROWS, STEPS, INPUTS).double()
    y = x
    for W, U, b, c in layers(memory.lstm):
        h, cell, outputs = torch.zeros(ROWS, 6).double(), torch.zeros(ROWS, 6).double(), []
        for x_t in y.unbind(1):
            i, f, g, o = (x_t @ W.T + b + h @ U.T + c).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            h = o.sigmoid() * cell.tanh()
            outputs.append(h)
        y = torch.stack(outputs, 1)
    torch.testing.assert_close(run(memory, x), y)


@pytest.mark.parametrize("memory_class", [GRU, LSTM])
def test_time_constants_lie_in_their_range(memory_class):
    memory = memory_class(INPUTS, hidden_size=400, num_layers=1, gate_timescales=(10.0, 100.0))
    rnn = next(memory.children())
    carry = torch.sigmoid(rnn.bias_ih_l0[400:800] + rnn.bias_hh_l0[400:800])
    timescales = 1 / (1 - carry)
    assert timescales.min() > 9.99 and timescales.max() < 100.1
    assert 25 < timescales.median() < 40  # log-uniform: the median is near the geometric mean, 31.6
    with pytest.raises(ValueError, match="gate_timescales"):
        memory_class(INPUTS, gate_timescales=(5.0, 2.0))


def test_gru_pmm_computes_its_docstring():
    memory = GRUPMM(INPUTS, hidden_size=6, num_slots=5, slot_size=3, num_read_heads=2).double()
    x = torch.randn(ROWS, STEPS, INPUTS).double()
    features = memory.encoder(x)[0]
    pmm, expected = memory.pmm, torch.empty(ROWS, STEPS, 6).double()
    for row in range(ROWS):
        M = pmm.initial_memory
        for step in range(STEPS):
            e = features[row, step]
            w = torch.softmax(M @ pmm.write_query(e) / math.sqrt(3), 0)
            M = M + torch.outer(w, pmm.write_value(e))
            reads = [torch.softmax(M @ q / math.sqrt(3), 0) @ M for q in pmm.read_queries(e).chunk(2)]
            r = memory.read_projection(memory.read_norm(torch.cat(reads)))
            expected[row, step] = memory.latent_norm(e + r)
    torch.testing.assert_close(run(memory, x), expected)


def test_equal_slots_stay_equal_for_ever_and_the_initial_ones_differ():
    pmm = PredictiveMemoryModule(6, num_slots=5, slot_size=3, num_read_heads=2)
    features = torch.randn(1, STEPS, 6)
    _, memory = pmm(features, torch.zeros(1, 5, 3))
    torch.testing.assert_close(memory, memory[:, :1].expand(1, 5, 3))
    assert memory.abs().sum() > 0
    _, memory = pmm(features, pmm.initial_memory.unsqueeze(0))
    assert torch.cdist(memory[0], memory[0]).fill_diagonal_(1).min() > 1e-3


def test_parameters_of_the_document_s_sizes():
    gru_pmm, d = GRUPMM(INPUTS), 256
    gru = 3 * d * (4 + d + 2) + 3 * d * (2 * d + 2)
    pmm = 64 * 128 + 2 * (d * 128 + 128) + (d * 512 + 512)
    reading = 2 * 512 + (512 * d + d) + 2 * d
    assert gru == 595_968 and pmm + reading == 338_432
    assert sum(p.numel() for p in gru_pmm.parameters()) == gru + pmm + reading


def naive_attention(block, x, num_heads):
    d = x.shape[-1] // num_heads
    q, k, v = block.queries_keys_values(block.attention_norm(x)).chunk(3, -1)
    q = q + block.query_bias.flatten()
    half = d // 2
    mixed = torch.zeros_like(x)
    for head in range(num_heads):
        part = slice(head * d, (head + 1) * d)
        for t in range(x.shape[1]):
            scores = []
            for s in range(t + 1):
                score = 0.0
                for pair in range(half):  # rotating both by their position is rotating one by the distance
                    angle = (t - s) * 10_000.0 ** (-pair / half)
                    a, b = q[:, t, part][:, pair], q[:, t, part][:, pair + half]
                    c, e = k[:, s, part][:, pair], k[:, s, part][:, pair + half]
                    score = score + math.cos(angle) * (a * c + b * e) + math.sin(angle) * (b * c - a * e) * -1
                scores.append(score / math.sqrt(d))
            weights = torch.stack(scores, 1).softmax(1).unsqueeze(-1)
            mixed[:, t, part] = (weights * v[:, : t + 1, part]).sum(1)
    return mixed


def test_transformer_computes_its_docstring():
    memory = Transformer(INPUTS, hidden_size=8, num_layers=2, num_heads=2, context_length=STEPS).double()
    x = torch.randn(ROWS, STEPS, INPUTS).double()
    with torch.no_grad():
        y = memory.embedding(x)
        for block in memory.blocks:
            y = y + block.attention_output(naive_attention(block, y, 2))
            hidden = torch.nn.functional.gelu(block.expand(block.feedforward_norm(y)))
            y = y + block.contract(hidden)
        torch.testing.assert_close(run(memory, x), memory.final_norm(y))


def test_transformer_attention_weights_give_its_output():
    from membench.memory import Trace

    memory = Transformer(INPUTS, hidden_size=8, num_heads=2, context_length=STEPS)
    trace = Trace()
    memory(torch.randn(ROWS, STEPS, INPUTS), memory.initial_state(ROWS), trace=trace)
    (weights,) = trace["attention.read"]
    torch.testing.assert_close(weights.sum(-1), torch.ones(ROWS, STEPS, 2))
    assert not weights.permute(0, 2, 1, 3).triu(1).any()


def test_transformer_refuses_an_episode_that_outgrows_its_cache():
    memory = Transformer(INPUTS, hidden_size=8, num_heads=2, context_length=5)
    with pytest.raises(ValueError, match="context_length 5: too short for an episode of 6 steps"):
        run(memory, torch.randn(1, 6, INPUTS))


def test_mamba_s_initial_step_sizes_lie_in_their_range():
    mixer = Mamba(INPUTS, hidden_size=64, step_sizes=(0.01, 0.02)).mixers[0]
    step_sizes = torch.nn.functional.softplus(mixer.dt_proj.bias)
    assert 0.0099 < step_sizes.min() < step_sizes.max() < 0.0201


def scan_arguments(rows, steps, channels, states, dtype=torch.float64):
    arguments = [
        torch.randn(rows, steps, channels),
        torch.rand(rows, steps, channels),
        -torch.rand(channels, states),
        torch.randn(rows, steps, states),
        torch.randn(rows, steps, states),
        torch.randn(rows, channels, states),
    ]
    return [argument.to(dtype).requires_grad_() for argument in arguments]


def by_numba(*arguments):
    pytest.importorskip("numba", reason="needs numba")
    from architectures.compiled_scan import compiled_scan

    return compiled_scan(*arguments)


@pytest.mark.parametrize(
    ("scan", "dtype", "tolerance"),
    [
        (selective_scan, torch.float64, 1e-9),
        (selective_scan, torch.float32, 1e-5),
        (by_numba, torch.float32, 1e-5),
    ],
    ids=["float64", "float32", "numba"],
)
@pytest.mark.parametrize("steps", [1, 7, 8, 9, 16, 40])
def test_the_scan_equals_its_reference(scan, steps, dtype, tolerance, monkeypatch):
    monkeypatch.setattr("architectures.selective_scan.ELEMENTS_PER_STEP", 30)  # two rows per block
    arguments = scan_arguments(5, steps, 5, 3, dtype)
    results = [scan(*arguments) for scan in (scan, selective_scan_reference)]
    losses = [y.sin().sum() + h.cos().sum() for y, h in results]
    gradients = [torch.autograd.grad(loss, arguments) for loss in losses]
    for one, other in zip([*results[0], *gradients[0]], [*results[1], *gradients[1]], strict=True):
        # Relative to the largest value: single entries of a sum over time may cancel.
        scale = max(1.0, float(other.detach().abs().max()))
        torch.testing.assert_close(one, other, atol=tolerance * scale, rtol=0)


@pytest.mark.parametrize("rate", [0.0, -1e-3, -3.0, -87.0, -1e3, -1e30, 5.0, 1e3, float("nan")])
def test_numba_s_decays_are_those_of_exp(rate):
    arguments = [torch.ones(1, 2, 1), torch.ones(1, 2, 1), torch.full((1, 1), rate)]
    arguments += [torch.zeros(1, 2, 1), torch.ones(1, 2, 1), torch.ones(1, 1, 1)]
    found, expected = by_numba(*arguments)[0], torch.tensor([rate, 2 * rate]).exp().view(1, 2, 1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-37, equal_nan=True)


def test_the_scan_s_gradients_are_those_of_its_outputs():
    assert torch.autograd.gradcheck(selective_scan, scan_arguments(2, 10, 3, 2))


@pytest.mark.parametrize("controller", ["gru", "feedforward"])
def test_addressed_pmm_computes_its_docstring(controller):
    torch.manual_seed(0)
    memory = AddressedPMM(3, hidden_size=6, num_slots=5, slot_size=4, controller=controller).double()
    torch.nn.init.normal_(memory.gate.weight)
    if memory.query_from_encoder is not None:
        torch.nn.init.normal_(memory.query_from_encoder.weight)
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    y, after = memory(x, memory.initial_state(2))
    hidden, content = torch.zeros(2, 6, dtype=torch.float64), torch.zeros(2, 5, 4, dtype=torch.float64)
    for t in range(7):
        o = x[:, t]
        if controller == "gru":
            hidden = memory.encoder(o.unsqueeze(1), hidden.unsqueeze(0))[0][:, 0]
            q = memory.query(o) + memory.query_from_encoder(hidden)
        else:
            hidden, q = memory.encoder(o).tanh(), memory.query(o)
        q = q / (1 + q.square().mean(-1, keepdim=True)).sqrt()
        w = (memory.temperature * (q @ memory.addresses.T) / 2).softmax(-1)
        content = content + w.unsqueeze(2) * (memory.gate(o).sigmoid() * memory.value(o)).unsqueeze(1)
        read = (w.unsqueeze(1) @ content).squeeze(1)
        reads = torch.cat([w @ memory.addresses, memory.read_norm(read)], dim=-1)
        torch.testing.assert_close(y[:, t], memory.latent_norm(hidden + memory.read_projection(reads)))
    torch.testing.assert_close(after["content"], content)


def test_a_zero_observation_writes_nothing_and_addresses_start_orthogonal():
    memory = AddressedPMM(3, hidden_size=6, num_slots=4, slot_size=8)
    x = torch.zeros(1, 50, 3)
    x[:, 0] = 20 * torch.randn(3)
    _, first = memory(x[:, :1], memory.initial_state(1))
    _, last = memory(x, memory.initial_state(1))
    assert first["content"].abs().max() > 0.01
    torch.testing.assert_close(last["content"], first["content"])
    torch.testing.assert_close(memory.addresses @ memory.addresses.T, 8 * torch.eye(4))
