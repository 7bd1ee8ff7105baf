"""The DNC's memory access against another implementation; see `agreement`."""

import torch
from agreement import HIDDEN, INPUTS, ROWS, assert_agree, dtypes, leaf, lengths, weights
from dnc.memory import Memory as DNCMemory

from architectures.dnc import DNC, Interface


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
        heads = [memory["read"].shape[1], 1]
        read_keys, write_key = interface.keys.split(heads, dim=1)
        strengths, write_strength = interface.strengths.squeeze(-1).split(heads, dim=1)
        hidden = reference.write(
            write_key,
            interface.value.unsqueeze(1),
            interface.erase.unsqueeze(1),
            interface.free_gates.squeeze(-1),
            strengths,
            write_strength,
            interface.write_gate,
            interface.allocation_gate,
            hidden,
        )
        backward, content, forward = interface.read_modes.unbind(-1)
        modes = torch.stack([backward, forward, content], dim=-1)
        reads, hidden = reference.read(read_keys, strengths, modes, hidden)
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
        monkeypatch.setattr("architectures.controlled_memory.length", lambda x: x.norm(dim=-1, keepdim=True))
        monkeypatch.setattr("dnc.util.δ", 0.0)
    y, after = memory(given["x"], state)
    monkeypatch.setattr("architectures.dnc.access", dnc_access(reference))
    expected, last = memory(given["x"], state)
    ours, theirs = (
        [y, *(state["memory"][name] for name in slots)] for y, state in ((y, after), (expected, last))
    )
    assert_agree("dnc", "dnc", ours, theirs, given)
