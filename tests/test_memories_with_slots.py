"""Memories with slots against naive loops written from their equations."""

import math

import pytest
import torch
from torch.nn import functional as F

from architectures.dnc import allocate
from architectures.ntm import NTM
from architectures.pmm_addressed import AddressedPMM
from architectures.pmm_gated import GatedPMM
from architectures.pmm_hierarchical import HierarchicalPMM
from architectures.pmm_sparse import SparsePMM, write_and_read_few
from membench.memory import Trace

ROWS, STEPS, INPUTS = 3, 40, 4


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def inputs():
    return torch.randn(ROWS, STEPS, INPUTS).double()


def run(memory, x):
    return memory(x, memory.initial_state(len(x)))[0]


def pmm_reads(pmm, features, gated):
    """Return what the module reads [t k*d] at every step of features [t e] of one row."""
    M, reads = pmm.initial_memory, []
    for e in features:
        w = torch.softmax(M @ pmm.write_query(e) / math.sqrt(M.shape[1]), 0)
        v = pmm.write_value(e) * (pmm.write_gate(e).sigmoid() if gated else 1)
        M = M + torch.outer(w, v)
        queries = pmm.read_queries(e).chunk(pmm.num_read_heads)
        heads = [torch.softmax(M @ q / math.sqrt(M.shape[1]), 0) @ M for q in queries]
        reads.append(torch.cat(heads))
    return torch.stack(reads)


def latent(memory, features, reads):
    return memory.latent_norm(features + memory.read_projection(memory.read_norm(reads)))


def test_gated_pmm_computes_its_docstring():
    memory = GatedPMM(INPUTS, hidden_size=6, num_slots=5, slot_size=3, num_read_heads=2).double()
    x = inputs()
    features = memory.encoder(x)[0]
    reads = torch.stack([pmm_reads(memory.pmm, row, gated=True) for row in features])
    torch.testing.assert_close(run(memory, x), latent(memory, features, reads))


def test_a_closed_gate_leaves_the_memory_as_it_was():
    memory = GatedPMM(INPUTS, hidden_size=6, num_slots=5, slot_size=3)
    with torch.no_grad():
        memory.pmm.write_gate.bias -= 100
    state = memory.initial_state(ROWS)
    _, after = memory(inputs().float(), state)
    torch.testing.assert_close(after["memory"], state["memory"])


def test_hierarchical_pmm_computes_its_docstring():
    memory = HierarchicalPMM(INPUTS, hidden_size=6, short_shape=(3, 2), long_shape=(7, 5)).double()
    x = inputs()
    features = memory.encoder(x)[0]
    reads = [
        torch.cat(
            [pmm_reads(memory.pmm.short, row, gated=False), pmm_reads(memory.pmm.long, row, gated=True)], 1
        )
        for row in features
    ]
    torch.testing.assert_close(run(memory, x), latent(memory, features, torch.stack(reads)))


def sparse_memory(**options):
    memory = SparsePMM(INPUTS, hidden_size=6, num_slots=16, slot_size=4, **options).double()
    torch.nn.init.normal_(memory.query_from_encoder.weight)
    return memory


def dense_addresses(memory):
    first, second = memory.addresses
    return torch.stack([torch.cat([one, other]) for one in first for other in second])


@pytest.mark.parametrize("num_active_slots", [1, 3])
def test_sparse_pmm_computes_its_docstring(num_active_slots):
    memory, x = sparse_memory(num_active_slots=num_active_slots), inputs()
    addresses, C = dense_addresses(memory), torch.zeros(ROWS, 16, 4).double()
    features, y = memory.encoder(x)[0], run(memory, x)
    for t in range(STEPS):
        o, e = x[:, t], features[:, t]
        q = memory.query(o) + memory.query_from_encoder(e)
        q = q / (1 + q.square().mean(-1, keepdim=True)).sqrt()
        scores = memory.temperature * q @ addresses.T / 2
        kth = scores.sort(descending=True).values[:, num_active_slots - 1 : num_active_slots]
        w = scores.masked_fill(scores < kth, -torch.inf).softmax(-1)
        C = C + w.unsqueeze(2) * (memory.gate(o).sigmoid() * memory.value(o)).unsqueeze(1)
        reads = torch.cat([w @ addresses, memory.read_norm((w.unsqueeze(1) @ C).squeeze(1))], dim=-1)
        torch.testing.assert_close(y[:, t], memory.latent_norm(e + memory.read_projection(reads)))


def test_the_active_slots_are_those_that_the_dense_memory_weighs_most():
    sparse = sparse_memory(num_active_slots=4)
    dense = AddressedPMM(INPUTS, hidden_size=6, num_slots=16, slot_size=4).double()
    weights = sparse.state_dict() | {"addresses": dense_addresses(sparse)}
    dense.load_state_dict(weights)
    x, trace = inputs(), Trace()
    sparse(x, sparse.initial_state(ROWS), trace=trace)
    (weights,) = trace["attention.read"]
    assert ((weights > 0).sum(-1) == 4).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(ROWS, STEPS, 1).double())
    chosen = dense_weights(dense, x).topk(4).indices.sort().values
    torch.testing.assert_close(weights.squeeze(2).topk(4).indices.sort().values, chosen)


def dense_weights(memory, x):
    trace = Trace()
    memory(x, memory.initial_state(ROWS), trace=trace)
    return trace["attention.read"][0].squeeze(2)


def test_among_equal_scores_the_first_slots_are_taken():
    memory = SparsePMM(INPUTS, hidden_size=6, num_slots=1024, slot_size=8, num_active_slots=4)
    trace = Trace()
    memory(torch.zeros(ROWS, STEPS, INPUTS), memory.initial_state(ROWS), trace=trace)
    (weights,) = trace["attention.read"]
    assert (weights[..., :4] == 0.25).all() and (weights[..., 4:] == 0).all()


def test_a_step_touches_few_slots():
    memory = SparsePMM(INPUTS, hidden_size=6, num_slots=1024, slot_size=8, num_active_slots=4)
    _, after = memory(inputs().float()[:, :1], memory.initial_state(ROWS))
    assert (after["content"].abs().sum(2) > 0).sum(1).tolist() == [4] * ROWS


def test_few_slots_written_and_read_as_by_hand():
    content = torch.zeros(1, 4, 1)
    weights = torch.tensor([[[0.75, 0.25], [0.5, 0.5]]])
    slots = torch.tensor([[[0, 2], [2, 3]]])
    reads, after = write_and_read_few(weights, slots, torch.tensor([[[8.0], [4.0]]]), content)
    # Step 0 reads 0.75 * 6 + 0.25 * 2; step 1 finds 2 + 2 in slot 2 and 2 in slot 3.
    assert reads.flatten().tolist() == [5.0, 3.0]
    assert after.flatten().tolist() == [6.0, 0.0, 4.0, 2.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_slots": 1000}, "num_slots 1000: must be a square number"),
        ({"slot_size": 7}, "slot_size 7: must be even"),
        ({"num_slots": 16, "num_active_slots": 5}, "num_active_slots 5: must be from 1 to 4"),
    ],
)
def test_sparse_pmm_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        SparsePMM(INPUTS, **options)


def test_ntm_computes_its_docstring():
    memory = NTM(INPUTS, hidden_size=6, num_slots=5, slot_size=3, num_read_heads=2).double()
    x = inputs()
    y = run(memory, x)
    for row in range(ROWS):
        h = c = torch.zeros(1, 6).double()
        M, reads = memory.initial_slots, torch.zeros(6).double()
        w = torch.eye(5)[[0, 0, 0]].double()
        for t in range(STEPS):
            h, c = memory.controller(torch.cat([x[row, t], reads]).unsqueeze(0), (h, c))
            interface = memory.interface(h[0])
            heads, e, a = interface[: 3 * 9].reshape(3, 9), interface[27:30].sigmoid(), interface[30:]
            w_write = naive_move(heads[2], w[2], M)
            M = M * (1 - torch.outer(w_write, e)) + torch.outer(w_write, a)
            w = torch.stack([naive_move(heads[0], w[0], M), naive_move(heads[1], w[1], M), w_write])
            reads = (w[:2] @ M).flatten()
            torch.testing.assert_close(y[row, t], memory.output(torch.cat([h[0], reads])))


def test_dnc_allocates_alike_whatever_rounding_does_to_equally_used_slots():
    usage = torch.tensor([[0.3, 0.3, 0.7, 0.3]])
    rounded = usage + torch.tensor([[2e-7, -1e-7, 0.0, -2e-7]])
    expected = torch.tensor([[0.7, 0.7 * 0.3, 0.3 * 0.3**3, 0.7 * 0.3**2]])
    torch.testing.assert_close(allocate(usage), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(allocate(rounded), expected, atol=1e-5, rtol=0)


def naive_move(head, before, M):
    key, strength, gate, shift, gamma = head[:3], head[3], head[4], head[5:8], head[8]
    lengths = (M.square().sum(1) + 1e-6).sqrt() * (key.square().sum() + 1e-6).sqrt()
    by_content = torch.softmax(F.softplus(strength) * (M @ key) / lengths, 0)
    w = gate.sigmoid() * by_content + (1 - gate.sigmoid()) * before
    s = shift.softmax(0)
    shifted = torch.stack([sum(w[(i - j) % 5] * s[j + 1] for j in (-1, 0, 1)) for i in range(5)])
    sharpened = shifted ** (1 + F.softplus(gamma))
    return sharpened / sharpened.sum()
