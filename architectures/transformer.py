"""Transformer: causal self-attention over everything seen so far.

Sources: Vaswani et al. 2017, arXiv 1706.03762; pre-norm blocks: Xiong et al. 2020, arXiv 2002.04745; rotary
positions: Su et al. 2021, arXiv 2104.09864, equation 34. Glossary: q query, k key, v value, d head size.

    q, k, v = W_q n + b, W_k n, W_v n,   n = LayerNorm(x) without bias; q and k rotated
    u = x + O softmax(mask(q k^T / sqrt(d))) v
    y = u + W_2 gelu(W_1 LayerNorm(u))

Deviations, both against the delay drowning the cue: the embedding of the observation and the norm in front
of attention have no bias, so that a zero observation, as in a silent delay, has a zero key and value in the
first block; and the query alone has a bias, so that a zero observation can still look for something.

Keys are cached as they come, so acting costs one query per step; positions are computed from a counter in
the state and are never the size of a parameter.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from membench.memory import Memory, PositiveInt, State, Trace


class Transformer(Memory):
    """A stack of causal pre-norm attention blocks with a key-value cache.

    Args:
        input_size: features per observation.
        hidden_size: width; a multiple of 2 * num_heads. Also the output size.
        num_layers: stacked blocks.
        num_heads: attention heads per block.
        feedforward_size: width inside a block's feed-forward part; None means 4 * hidden_size.
        context_length: steps that the cache holds; a longer episode is an error.

    State: `hidden` [b h] the last output, `position` [b] the steps seen so far, and per block, under
    `cache`, `keys` and `values` [b head context d].

    Raises:
        ValueError: if hidden_size is not a multiple of 2 * num_heads, or an episode outgrows the cache.
    """

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        num_heads: PositiveInt = 4,
        feedforward_size: PositiveInt | None = None,
        context_length: PositiveInt = 1024,
    ):
        super().__init__(input_size, hidden_size)
        if num_heads < 1:
            raise ValueError(f"num_heads {num_heads}: must be at least 1")
        if hidden_size % (2 * num_heads):
            raise ValueError(
                f"hidden_size {hidden_size}: must be a multiple of 2 * num_heads = {2 * num_heads}"
            )
        self.context_length, self.num_heads = context_length, num_heads
        self.embedding = nn.Linear(input_size, hidden_size, bias=False)
        self.blocks = nn.ModuleList(
            self.make_block(hidden_size, num_heads, feedforward_size or 4 * hidden_size)
            for _ in range(num_layers)
        )
        self.final_norm = nn.LayerNorm(hidden_size)

    @staticmethod
    def make_block(hidden_size: int, num_heads: int, feedforward_size: int) -> "Block":
        """Return one layer; what a variant of the transformer replaces."""
        return Block(hidden_size, num_heads, feedforward_size)

    def initial_state(self, batch_size: int) -> State:
        """Return an empty cache."""
        hidden = self.zeros(batch_size, self.output_size)
        head_size = self.output_size // self.num_heads
        shape = (batch_size, self.num_heads, self.context_length, head_size)
        cache = {
            str(layer): {"keys": self.zeros(*shape), "values": self.zeros(*shape)}
            for layer in range(len(self.blocks))
        }
        position = torch.zeros(batch_size, dtype=torch.long, device=hidden.device)
        return {"hidden": hidden, "position": position, "cache": cache}

    def forward(self, x: Tensor, state: State, *, trace: Trace | None = None) -> tuple[Tensor, State]:
        """Attend from every step of x [b t i] to itself, to those before it, and to the cache."""
        return self._run(x, state, in_place=False, trace=trace)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Attend from one step, writing its key into the given cache unless gradients are recorded."""
        y, state = self._run(x.unsqueeze(1), state, in_place=not torch.is_grad_enabled(), trace=None)
        return y.squeeze(1), state

    def _run(self, x: Tensor, state: State, *, in_place: bool, trace: Trace | None) -> tuple[Tensor, State]:
        window = Window(state["position"], x.shape[1], self.context_length)
        y, cache = self.embedding(x), {}
        for layer, block in enumerate(self.blocks):
            before = state["cache"][str(layer)]
            y, cache[str(layer)] = block(y, before, window, in_place=in_place, trace=trace)
        y = self.final_norm(y)
        if trace is not None:
            trace.record("hidden", y)
        return y, {"hidden": y[:, -1].clone(), "position": state["position"] + x.shape[1], "cache": cache}


class Window:
    """Where a call's steps stand in the cache, and what each of them may attend to.

    `positions` [b t] are the steps' places; `length` is how much of the cache the longest row fills after
    this call; `mask` [b 1 t length] is True where a step may look, None for rows that all start empty,
    where plain causal attention over the new steps alone is the same and faster. On the meta device no
    value can be read and the whole cache is attended.
    """

    def __init__(self, position: Tensor, num_steps: int, context_length: int):
        steps = torch.arange(num_steps, device=position.device)
        self.positions = position.unsqueeze(1) + steps
        filled = context_length - num_steps if position.is_meta else int(position.max())
        self.length = filled + num_steps
        if self.length > context_length:
            raise ValueError(
                f"context_length {context_length}: too short for an episode of {self.length} steps"
            )
        self.mask = None
        if filled:
            slots = torch.arange(self.length, device=position.device)
            self.mask = (slots <= self.positions.unsqueeze(-1)).unsqueeze(1)


class Block(nn.Module):
    """Attention, then a feed-forward part, each on a LayerNorm of its input and added to it."""

    def __init__(self, hidden_size: int, num_heads: int, feedforward_size: int):
        super().__init__()
        self.num_heads, self.head_size = num_heads, hidden_size // num_heads
        self.attention_norm = nn.LayerNorm(hidden_size, bias=False)
        self.queries_keys_values = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.query_bias = nn.Parameter(torch.empty(num_heads, self.head_size))
        nn.init.uniform_(self.query_bias, -(hidden_size**-0.5), hidden_size**-0.5)
        self.attention_output = nn.Linear(hidden_size, hidden_size, bias=False)
        self.feedforward_norm = nn.LayerNorm(hidden_size)
        self.expand = nn.Linear(hidden_size, feedforward_size)
        self.contract = nn.Linear(feedforward_size, hidden_size)

    def forward(
        self, x: Tensor, cache: State, window: Window, *, in_place: bool, trace: Trace | None
    ) -> tuple[Tensor, State]:
        """Return the block's output [b t h] and its cache with the new keys and values in it."""
        projected = self.queries_keys_values(self.attention_norm(x))
        queries, keys, values = projected.unflatten(-1, (3, self.num_heads, self.head_size)).unbind(2)
        queries = rotate(queries + self.query_bias, window.positions)
        keys = rotate(keys, window.positions)
        cache = {
            "keys": write(cache["keys"], keys, window.positions, in_place=in_place),
            "values": write(cache["values"], values, window.positions, in_place=in_place),
        }
        queries = queries.transpose(1, 2)
        if window.mask is None:
            keys, values = keys.transpose(1, 2), values.transpose(1, 2)
        else:
            keys, values = (
                cache[name][:, :, : window.length].to(queries.dtype) for name in ("keys", "values")
            )
        read = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=window.mask, is_causal=window.mask is None
        )
        if trace is not None:
            trace.record("attention.read", attention_weights(queries, keys, window.mask).transpose(1, 2))
        x = self.after_attention(x, self.attention_output(read.transpose(1, 2).flatten(2)))
        expanded = F.gelu(self.expand(self.feedforward_norm(x)))
        return self.after_feedforward(x, self.contract(expanded)), cache

    def after_attention(self, x: Tensor, update: Tensor) -> Tensor:
        """Return what goes on from x [b t h] and what attention makes of it."""
        return x + update

    def after_feedforward(self, x: Tensor, update: Tensor) -> Tensor:
        """Return what goes on from x [b t h] and what the feed-forward part makes of it."""
        return x + update


def write(cache: Tensor, new: Tensor, positions: Tensor, *, in_place: bool) -> Tensor:
    """Return cache [b head context d] with new [b t head d] at positions [b t] of each row."""
    rows = torch.arange(len(cache), device=cache.device).unsqueeze(1)
    by_position = (cache if in_place else cache.clone()).transpose(1, 2)
    by_position[rows, positions] = new.to(cache.dtype)
    return by_position.transpose(1, 2)


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Rotate pairs of features of x [b t head d] by angles proportional to positions [b t]."""
    half = x.shape[-1] // 2
    precision = torch.float64 if x.dtype == torch.float64 else torch.float32
    frequencies = 10_000.0 ** (-torch.arange(half, device=x.device, dtype=precision) / half)
    angles = (positions.unsqueeze(-1) * frequencies).unsqueeze(2)
    sine, cosine = angles.sin().to(x.dtype), angles.cos().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def attention_weights(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    """Return the weights [b head t key] that `scaled_dot_product_attention` uses and does not show."""
    scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)
