"""A decoder-only transformer, causal or prefix-LM, of the Llama family by default.

    config = DecoderConfig(vocab_size=32000, num_heads=8, num_kv_heads=2)
    model = jax.jit(config.init)(jax.random.key(0))
    logits = model(batch)                                         # [B, T, V], f32
    logits, cache = model.prefill(prompts, max_new_tokens=64)     # [B, V]: a first new token each
    logits, cache = model.decode_step(cache, logits.argmax(-1))   # [B, V]: the second

A batch holds `decoder_input_tokens`, `decoder_segment_ids` and `decoder_positions` [B, T], and with
`prefix=True` also `decoder_prefix`: 1 where a token belongs to its segment's prefix, which every
token of the segment sees. Segment 0 is padding, which sees padding alone. Prompts are rows of one
segment, padded on the right:

    decoder_input_tokens  7 8 9 0 0     and after two steps the cache holds  7 8 9 . . a b
    decoder_segment_ids   1 1 1 0 0     at the positions                     0 1 2 . . 3 4
"""

# B batch, T queries, D model width, H heads, N heads of keys and values, K width of a head, V
# vocabulary, L layers, M slots of the cache.

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.fields import by_macro, check_choice, check_interval, check_range, check_types
from flanmix.model.api import DEFAULT_COMPUTE, Architecture, Batch, Compute, register_model
from flanmix.model.attention import attend, causal, projections, same_segment
from flanmix.model.cache import Slots
from flanmix.model.dropout import Site, dropout, fold
from flanmix.model.embedding import Embedding
from flanmix.model.linear import Dim, Linear, merge_heads, split_heads
from flanmix.model.mlp import MLP, MLPS
from flanmix.model.norm import RMSNorm
from flanmix.model.positions import RelativeBias, check_buckets, rope
from flanmix.model.scan import apart, scan_cached, scan_layers
from flanmix.model.sharding import constrain


@register_model
@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder; every field is a gin name.

    Attributes:
        vocab_size: rows of the table of embeddings, and logits.
        d_model: width of the activations.
        d_ff: inner width of the MLP.
        num_heads: heads of the queries.
        num_kv_heads: heads of keys and values; fewer than num_heads: grouped-query attention.
        head_dim: width of a head.
        num_layers: layers.
        mlp: a name of `flanmix.model.mlp.MLPS`: "swiglu", "geglu", ...
        positions: "rope", or "relative": T5's table of biases, shared by all layers.
        rope_theta: base of the rotation's wavelengths.
        num_buckets: distances that a relative bias tells apart.
        max_distance: distance from which on it tells no more apart.
        tied_head: whether the table of embeddings is the head.
        prefix: whether all of a segment sees its prefix: a prefix-LM.
        dropout_rate: in every layer and after the embedding.
        norm_epsilon: added to the mean square.
    """

    vocab_size: int = 32128
    d_model: int = 512
    d_ff: int = 1408
    num_heads: int = 8
    num_kv_heads: int = 8
    head_dim: int = 64
    num_layers: int = 8
    mlp: str = "swiglu"
    positions: str = "rope"
    rope_theta: float = 10000.0
    num_buckets: int = 32
    max_distance: int = 128
    tied_head: bool = False
    prefix: bool = False
    dropout_rate: float = by_macro("DROPOUT", default=0.0)
    norm_epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_types(self)
        sizes = ("vocab_size", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_dim")
        check_range(self, 1, *sizes, "num_layers")
        check_interval(self, "[0, 1)", "dropout_rate")
        check_interval(self, "(0, inf)", "norm_epsilon", "rope_theta")
        check_choice(self, "mlp", MLPS)
        check_choice(self, "positions", ("rope", "relative"))
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"DecoderConfig.num_kv_heads is {self.num_kv_heads}: must divide num_heads, "
                f"which is {self.num_heads}"
            )
        if self.positions == "rope" and self.head_dim % 2:
            raise ValueError(f"DecoderConfig.head_dim is {self.head_dim}: rope needs an even one")
        check_buckets(self)

    @property
    def architecture(self) -> Architecture:
        """Which batches the model reads: "causal" or "prefix"."""
        return "prefix" if self.prefix else "causal"

    def init(self, rng: Key[Array, ""], compute: Compute = DEFAULT_COMPUTE) -> "Decoder":
        """Returns a new model; under a mesh its parameters are sharded."""
        return Decoder(self, compute, rng)


class DecoderCache(NamedTuple):
    """What decoding keeps: a slot for each token of the prompts, then one for each new token."""

    slots: Slots
    positions: Int[Array, "B M"]
    visible: Bool[Array, "B M"]
    slot: Int[Array, ""]  # the next token's slot, and in each row its position
    position: Int[Array, " B"]
    layers: Any  # the model's, one by one, if they are few

    def take(self, rows_B: Int[Array, " B"]) -> "DecoderCache":
        """Returns the cache with the tokens of other rows, each of the same prompt."""
        return self._replace(slots=self.slots.take(rows_B))


KeysValues = tuple[Float[Array, "B _ N K"], Float[Array, "B _ N K"]]


class DecoderLayer(nnx.Module):
    """Self-attention and MLP, each behind its norm, stacked over layers."""

    def __init__(self, config: DecoderConfig, compute: Compute, rng: Key[Array, ""]) -> None:
        c = self.config = config
        self.compute = compute
        rngs = jax.random.split(rng, 5)
        stack = dict(compute=compute, num_layers=c.num_layers)
        self.attention_norm = RMSNorm(c.d_model, c.norm_epsilon, **stack)
        shape = (c.d_model, c.num_heads, c.num_kv_heads, c.head_dim)
        self.query, self.key, self.value, self.out = projections(
            rngs[:4], *shape, query_std=c.d_model**-0.5, **stack
        )
        self.mlp_norm = RMSNorm(c.d_model, c.norm_epsilon, **stack)
        self.mlp = MLP(
            rngs[4],
            c.num_layers,
            c.d_model,
            c.d_ff,
            c.mlp,
            dropout_rate=c.dropout_rate,
            compute=compute,
        )

    def project(
        self, x_BTD: Float[Array, "B T D"], positions_BT: Int[Array, "B T"]
    ) -> tuple[Float[Array, "B T H K"], Float[Array, "B T N K"], Float[Array, "B T N K"]]:
        """Returns queries (scaled), keys and values."""
        c = self.config
        q = split_heads(self.query(x_BTD), c.num_heads)
        k = split_heads(self.key(x_BTD), c.num_kv_heads)
        v = split_heads(self.value(x_BTD), c.num_kv_heads)
        if c.positions == "rope":
            q, k = rope(q, positions_BT, c.rope_theta), rope(k, positions_BT, c.rope_theta)
        return q * c.head_dim**-0.5, k, v

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        positions_BT: Int[Array, "B T"],
        cache: Callable[[Array, Array], KeysValues] | None,
        mask: Bool[Array, "B 1 #T _"],
        bias: Float[Array, "#B H #T _"] | None,
        rng: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "B T D"], KeysValues]:
        """Applies one layer; returns its output and the keys and values of x.

        Args:
            x_BTD: the stream of activations.
            positions_BT: positions within the segments.
            cache: `update(k, v) -> (keys, values)` to attend to, or None for those of x alone.
            mask: True where a position sees a key.
            bias: of the positions, or None.
            rng: randomness of the dropout, or None.
        """
        rate = self.config.dropout_rate
        q, k, v = self.project(self.attention_norm(x_BTD), positions_BT)
        keys, values = (k, v) if cache is None else cache(k, v)
        options = dict(compute=self.compute, dropout_rng=rng, dropout_rate=rate)
        y = self.out(merge_heads(attend(q, keys, values, mask, bias, **options)))
        x_BTD += dropout(y, rng, rate, Site.ATTENTION)
        y = self.mlp(self.mlp_norm(x_BTD), rng)
        return x_BTD + dropout(y, rng, rate, Site.MLP), (k, v)


class Decoder(nnx.Module):
    """The model; build it with `DecoderConfig.init`."""

    def __init__(self, config: DecoderConfig, compute: Compute, rng: Key[Array, ""]) -> None:
        c = self.config = config
        self.compute = compute
        rngs = jax.random.split(rng, 4)
        # Tied, the table is also the head, whose logits should start near N(0, 1).
        draw = dict(std=c.d_model**-0.5, compute=compute)
        self.embedding = Embedding(rngs[0], c.vocab_size, c.d_model, **draw)
        relative = c.positions == "relative"
        table = (rngs[1], c.num_buckets, c.num_heads)
        reach = dict(max_distance=c.max_distance, bidirectional=c.prefix)
        self.bias = RelativeBias(*table, **reach, **draw) if relative else None
        self.layers = DecoderLayer(c, compute, rngs[2])
        self.norm = RMSNorm(c.d_model, c.norm_epsilon, compute=compute)
        sides = Dim(c.d_model, "embed"), Dim(c.vocab_size, "vocab")
        self.head = None if c.tied_head else Linear(rngs[3], *sides, **draw)

    def __call__(
        self, batch: Batch, *, dropout_rng: Key[Array, ""] | None = None
    ) -> Float[Array, "B T V"]:
        """Returns f32 logits of the next token at every position; an rng turns dropout on."""
        return self.logits(self.hidden(batch, dropout_rng=dropout_rng))

    def hidden(
        self, batch: Batch, *, dropout_rng: Key[Array, ""] | None = None
    ) -> Float[Array, "B T D"]:
        """Returns the output after the last norm."""
        return self.norm(self._forward(batch, dropout_rng)[0])

    def logits(self, hidden_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Returns f32 logits of hidden states."""
        if self.head is None:
            return self.embedding.logits(hidden_BTD)
        return self.head(hidden_BTD, jnp.float32)

    def prefill(
        self, batch: Batch, max_new_tokens: int
    ) -> tuple[Float[Array, "B V"], DecoderCache]:
        """Reads the prompts: logits of the first new token of each row, and the cache.

        Args:
            batch: `decoder_input_tokens`, `decoder_segment_ids`, `decoder_positions` [B, T] (and
                `decoder_prefix`), one
                segment a row, padded on the right.
            max_new_tokens: slots of the cache beside the prompts'; after that many tokens it is
                full.
        """
        x_BTD, (key, value) = self._forward(batch, None)
        visible = constrain(batch["decoder_segment_ids"], "batch", None) > 0
        positions = constrain(batch["decoder_positions"], "batch", None)
        lengths_B = visible.sum(-1)
        length = visible.shape[1]
        last_BT = jnp.arange(length)[None] == lengths_B[:, None] - 1
        x_B1D = jnp.where(last_BT[:, :, None], x_BTD, 0).sum(1, keepdims=True)
        slots = ((0, 0), (0, max_new_tokens))
        cache = DecoderCache(
            slots=Slots.of(key, value, max_new_tokens),
            positions=jnp.pad(positions, slots),
            visible=jnp.pad(visible, slots),
            slot=jnp.int32(length),
            position=lengths_B,
            layers=apart(self.layers, self.config.num_layers),
        )
        return self.logits(self.norm(x_B1D))[:, 0], cache

    def decode_step(
        self, cache: DecoderCache, tokens_B: Int[Array, " B"]
    ) -> tuple[Float[Array, "B V"], DecoderCache]:
        """Reads one token a row: logits of the next, and the cache with one more slot filled."""
        here_1M = (jnp.arange(cache.visible.shape[1]) == cache.slot)[None]
        positions_BM = jnp.where(here_1M, cache.position[:, None], cache.positions)
        visible_BM = cache.visible | here_1M
        mask = visible_BM[:, None, None, :]
        bias = None
        if self.bias is not None:
            bias = self.bias.of_distance(positions_BM - cache.position[:, None])

        def body(
            layer: DecoderLayer, x: Array, slots: Slots, number: Array | int
        ) -> tuple[Array, Slots]:
            def update(k: Array, v: Array) -> KeysValues:
                nonlocal slots
                slots = slots.filled(number, cache.slot, k, v)
                return slots.of_layer(number)

            x, _ = layer(x, cache.position[:, None], update, mask, bias, None)
            return x, slots

        x = self._embed(tokens_B[:, None], None)
        stack = (self.layers, cache.layers, cache.slots, self.config.num_layers)
        x, slots = scan_cached(body, x, *stack)
        cache = cache._replace(
            slots=slots,
            positions=positions_BM,
            visible=visible_BM,
            slot=cache.slot + 1,
            position=cache.position + 1,
        )
        return self.logits(self.norm(x))[:, 0], cache

    def _forward(
        self, batch: Batch, dropout_rng: Key[Array, ""] | None
    ) -> tuple[Float[Array, "B T D"], tuple[Array, Array]]:
        """Returns the output before the last norm, and all keys and values [L, B, T, N, K]."""
        segments_BT = constrain(batch["decoder_segment_ids"], "batch", None)
        positions_BT = constrain(batch["decoder_positions"], "batch", None)
        length = segments_BT.shape[1]
        seen = causal(length)
        if self.config.prefix:
            prefix_BT = constrain(batch["decoder_prefix"], "batch", None)
            seen = seen | (prefix_BT > 0)[:, None, None, :]
        mask = seen & same_segment(segments_BT, segments_BT)
        bias = None if self.bias is None else self.bias(length)

        def body(layer: DecoderLayer, x: Array, rng: Array | None) -> tuple[Array, KeysValues]:
            return layer(x, positions_BT, None, mask, bias, rng)

        x = self._embed(batch["decoder_input_tokens"], dropout_rng)
        options = dict(dropout_rng=dropout_rng, remat=self.compute.remat)
        return scan_layers(body, x, self.layers, self.config.num_layers, **options)

    def _embed(
        self, tokens_BT: Int[Array, "B T"], dropout_rng: Key[Array, ""] | None
    ) -> Float[Array, "B T D"]:
        c = self.config
        x_BTD = self.embedding(constrain(tokens_BT, "batch", None))
        # The number after the last layer's.
        return dropout(x_BTD, fold(dropout_rng, c.num_layers), c.dropout_rate, Site.ALONE)
