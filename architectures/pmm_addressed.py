"""Addressed PMM: the Predictive Memory Module with addresses that are never overwritten.

Source: a variant of the deep dive's module (`architectures.gru_pmm`); a fixed address beside each slot's
content is that of the Dynamic NTM (Gulcehre et al. 2016, arXiv 1607.00036, section 3.1). Glossary: o_t
observation, e_t controller output, q query, A addresses and C content of the slots, w write weights, a read
weights, g write gate, V o_t write value.

    e_t = GRU(o_t, e_{t-1})   or, feed-forward,   e_t = tanh(E o_t)
    q_t = W_q o_t + U_q e_t;   q_t <- q_t / sqrt(1 + mean(q_t^2))
    w_t = a_t = softmax(tau A q_t / sqrt(d))
    C_t = C_{t-1} + w_t (g_t V o_t)^T,   g_t = sigmoid(G o_t + b)        (write, before read)
    y_t = LayerNorm(e_t + O [a_t A, LayerNorm(a_t C_t)])

What differs from the module of the deep dive, and what each difference is for:
- a slot has an address half, learned and with orthogonal rows, that is not written to: where the content is
  also the address, everything is soon written to one slot;
- writing and reading share one query projection without a bias, normalised, so that what was written under a
  key is found under it, and the scores neither vanish nor saturate; the 1 under the root keeps a small
  observation small;
- tau is learned and starts at 2, so that two views of a key, which differ in what is shown beside it, share
  their slots and two keys do not;
- the value is a function of the observation without a bias: a zero observation writes nothing, and the
  content does not grow over a silent delay; the gate can learn to do the same for noise;
- weights and values depend on no content, so that all steps are computed at once (`additive_memory`).

U_q starts at zero, so that a key is at first looked up by what is seen and not by when. With the feed-forward
controller there is no U_q, and the content is the only thing carried from step to step; its tanh bounds e_t
as the GRU's does, lest a large observation drown what is read.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from architectures.additive_memory import write_and_read, write_and_read_reference
from architectures.gru import run_gru, spread_update_gates
from architectures.timescales import GATE_TIMESCALES, Timescales
from membench.memory import Memory, PositiveInt, State, Trace


class AddressedPMM(Memory):
    """A controller, and slots with an address and a content half beside it.

    Args:
        input_size: features per observation.
        hidden_size: units of the controller; also the output size.
        num_slots: slots of the memory.
        slot_size: features of a slot's address, and of its content.
        controller: `gru`, or `feedforward`, which carries nothing from step to step.
        gate_timescales: range of the GRU units' initial time constants in steps; None keeps PyTorch's biases.
        fused: whole sequences at once, not step by step; the same but for rounding.

    State: `hidden` [b h] the controller's output, `content` [b slot d].
    """

    initialisations = GATE_TIMESCALES

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 256,
        num_slots: PositiveInt = 64,
        slot_size: PositiveInt = 64,
        controller: Literal["gru", "feedforward"] = "gru",
        gate_timescales: Timescales | None = (2.0, 1000.0),
        fused: bool = True,
    ):
        super().__init__(input_size, hidden_size)
        self.num_slots, self.slot_size, self.fused = num_slots, slot_size, fused
        if has_gru := controller == "gru":
            self.encoder = nn.GRU(input_size, hidden_size, batch_first=True)
            if gate_timescales is not None:
                spread_update_gates(self.encoder, gate_timescales)
        else:
            self.encoder = nn.Linear(input_size, hidden_size, bias=False)
        self.query = nn.Linear(input_size, slot_size, bias=False)
        self.query_from_encoder = nn.Linear(hidden_size, slot_size, bias=False) if has_gru else None
        if self.query_from_encoder is not None:
            nn.init.zeros_(self.query_from_encoder.weight)
        self.query_norm = nn.RMSNorm(slot_size, eps=1.0, elementwise_affine=False)
        self.value = nn.Linear(input_size, slot_size, bias=False)
        self.gate = nn.Linear(input_size, 1)
        self.addresses = self.make_addresses()
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.read_norm = nn.LayerNorm(slot_size)
        self.read_projection = nn.Linear(2 * slot_size, hidden_size)
        self.latent_norm = nn.LayerNorm(hidden_size)

    def make_addresses(self) -> nn.Parameter:
        """Return one address per slot [slot d], rows orthogonal."""
        return nn.Parameter(orthogonal_rows(self.num_slots, self.slot_size))

    def initial_state(self, batch_size: int) -> State:
        """Return a zero controller state and empty slots."""
        return {
            "hidden": self.zeros(batch_size, self.output_size),
            "content": self.zeros(batch_size, self.num_slots, self.slot_size),
        }

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Encode x [b t i], write, read, and return the latent [b t h]."""
        features = self._encode(x, state["hidden"])
        values = self.gate(x).sigmoid() * self.value(x)
        found = self.access(self._queries(x, features), values, state["content"])
        if trace is not None:
            self._record(trace, features, found.over(self.num_slots), values, state["content"])
        reads = torch.cat([found.addresses, self.read_norm(found.contents)], dim=-1)
        y = self.latent_norm(features + self.read_projection(reads))
        return y, {"hidden": features[:, -1], "content": found.content}

    def access(self, queries: Tensor, values: Tensor, content: Tensor) -> "Access":
        """Write the values [b t d] under the queries [b t d] and read under the same."""
        weights = self.weights_of(queries @ self.addresses.T)
        run = write_and_read if self.fused else write_and_read_reference
        contents, content = run(weights, values, weights, content)
        return Access(weights @ self.addresses, contents, content, weights)

    def weights_of(self, scores: Tensor) -> Tensor:
        """Return the weights that scores, products of queries and addresses, stand for."""
        return torch.softmax(self.temperature * scores / math.sqrt(self.slot_size), dim=-1)

    def _encode(self, x: Tensor, hidden: Tensor) -> Tensor:
        if isinstance(self.encoder, nn.GRU):
            state = {"hidden": hidden, "lower": hidden.unsqueeze(1)[:, :0]}
            return run_gru(self.encoder, x, state, fused=self.fused)[0]
        return torch.tanh(self.encoder(x))

    def _queries(self, x: Tensor, features: Tensor) -> Tensor:
        """Return the normalised queries [b t d]."""
        queries = self.query(x)
        if self.query_from_encoder is not None:
            queries = queries + self.query_from_encoder(features)
        return self.query_norm(queries)

    def _record(
        self, trace: Trace, features: Tensor, weights: Tensor, values: Tensor, content: Tensor
    ) -> None:
        written = weights.unsqueeze(3) * values.unsqueeze(2)
        trace.record("hidden", features)
        trace.record("attention.write", weights.unsqueeze(2))
        trace.record("attention.read", weights.unsqueeze(2))
        trace.record("memory", content.unsqueeze(1) + written.cumsum(1))


class Access(NamedTuple):
    """What was read, how, and what is left in memory."""

    addresses: Tensor
    """[b t d], the address half of what was read."""
    contents: Tensor
    """[b t d], the content half."""
    content: Tensor
    """[b slot d], after the last step."""
    weights: Tensor
    """[b t slot], with which every step both wrote and read; of some slots only where `slots` says which."""
    slots: Tensor | None = None
    """[b t k], the slots that the weights [b t k] belong to."""

    def over(self, num_slots: int) -> Tensor:
        """Return the weights [b t slot] over all slots."""
        if self.slots is None:
            return self.weights
        nothing = self.weights.new_zeros(*self.weights.shape[:2], num_slots)
        return nothing.scatter(2, self.slots, self.weights)


def orthogonal_rows(num_rows: int, size: int) -> Tensor:
    """Draw orthogonal rows [row size] whose features are of size 1.

    More rows than features cannot be orthogonal: their columns are, and features are of size
    sqrt(size / num_rows), so that addressing is less sharp at first.
    """
    return nn.init.orthogonal_(torch.empty(num_rows, size)) * math.sqrt(size)
