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
# vocabulary, L layers, M slots of the cache, E position buckets.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.model import layers
from flanmix.model.layers import MLP, attend, dropout, merge_heads, rms_norm, split_heads, weight
from flanmix.model.sharding import constrain

Batch = Mapping[str, Array]


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder; every field is a gin name."""

    vocab_size: int = 32128
    d_model: int = 512
    d_ff: int = 1408
    num_heads: int = 8
    num_kv_heads: int = 8  # fewer than num_heads: grouped-query attention
    head_dim: int = 64
    num_layers: int = 8
    mlp: str = "swiglu"  # or "geglu"
    positions: str = "rope"  # or "relative": T5's shared table of biases
    rope_theta: float = 10000.0
    num_buckets: int = 32
    max_distance: int = 128
    tied_head: bool = False
    prefix: bool = False
    dropout_rate: float = 0.0
    norm_epsilon: float = 1e-6
    dtype: str = "float32"  # of activations; parameters, softmax and logits are f32
    remat: str = "none"  # or "dots", "full": what the backward computes again

    stacks = ("layers",)  # the parts whose parameters are stacked over layers

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_dim")
        layers.check_config(self, (*sizes, "num_layers", "max_distance"))
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"DecoderConfig.num_kv_heads is {self.num_kv_heads}: must divide num_heads, "
                f"which is {self.num_heads}"
            )
        if self.positions not in ("rope", "relative"):
            raise ValueError(
                f"DecoderConfig.positions is {self.positions!r}: must be 'rope' or 'relative'"
            )
        if self.positions == "rope" and self.head_dim % 2:
            raise ValueError(f"DecoderConfig.head_dim is {self.head_dim}: rope needs an even one")
        if self.num_buckets < 4 or self.num_buckets % 4:
            raise ValueError(
                f"DecoderConfig.num_buckets is {self.num_buckets}: must be a multiple of 4"
            )

    @property
    def architecture(self) -> str:
        """Returns which batches the model reads: "causal" or "prefix"."""
        return "prefix" if self.prefix else "causal"

    def init(self, key: Key[Array, ""]) -> "Decoder":
        """Returns a new model; under a mesh its parameters are partitioned."""
        return Decoder(self, key)


class DecoderCache(NamedTuple):
    """What decoding keeps: a slot for each token of the prompts, then one for each new token."""

    key: Float[Array, "L B M N K"]
    value: Float[Array, "L B M N K"]
    positions: Int[Array, "B M"]
    visible: Bool[Array, "B M"]
    slot: Int[Array, ""]  # the next token's slot, and in each row its position
    position: Int[Array, " B"]


class DecoderLayer(nnx.Module):
    """Self-attention and MLP, each behind its norm, stacked over layers."""

    def __init__(self, config: DecoderConfig, key: Key[Array, ""]):
        c = self.config = config
        count, width, inner = c.num_layers, c.d_model, c.num_heads * c.head_dim
        k_query, k_key, k_value, k_out, k_mlp = jax.random.split(key, 5)
        names, std = (None, "embed", "heads"), width**-0.5
        self.attention_norm = layers.ones(count, width)
        cut = dict(sizes=(count, width, c.num_heads))
        self.query = weight(k_query, (count, width, inner), std, *names, **cut)
        shared = (count, width, c.num_kv_heads * c.head_dim)
        cut = dict(sizes=(count, width, c.num_kv_heads))
        self.key = weight(k_key, shared, std, *names, **cut)
        self.value = weight(k_value, shared, std, *names, **cut)
        cut = dict(sizes=(count, c.num_heads, width))
        out = (count, inner, width)
        self.out = weight(k_out, out, inner**-0.5, None, "heads", "embed", **cut)
        self.mlp_norm = layers.ones(count, width)
        self.mlp = MLP(count, width, c.d_ff, c.mlp, k_mlp)

    def project(self, x_BTD: Float[Array, "B T D"], positions_BT: Int[Array, "B T"]):
        """Returns queries [B, T, H, K] (scaled), keys and values [B, T, N, K]."""
        c = self.config
        q = split_heads(x_BTD, self.query, c.num_heads)
        k = split_heads(x_BTD, self.key, c.num_kv_heads)
        v = split_heads(x_BTD, self.value, c.num_kv_heads)
        if c.positions == "rope":
            q, k = rope(q, positions_BT, c.rope_theta), rope(k, positions_BT, c.rope_theta)
        return q * c.head_dim**-0.5, k, v

    def __call__(self, x_BTD, positions_BT, cache, mask, bias, key):
        """Applies one layer; returns its output and the keys and values of x.

        Args:
            x_BTD: the stream of activations.
            positions_BT: positions within the segments.
            cache: `update(k, v) -> (keys, values)` to attend to, or None for those of x alone.
            mask: bool [B, 1, T, S], True where a query sees a key.
            bias: f32 [B or 1, H, T or 1, S] or None.
            key: dropout key or None.
        """
        c = self.config
        q, k, v = self.project(rms_norm(x_BTD, self.attention_norm, c.norm_epsilon), positions_BT)
        keys, values = (k, v) if cache is None else cache(k, v)
        y = attend(q, keys, values, mask, bias, dropout_key=key, dropout_rate=c.dropout_rate)
        x_BTD += dropout(merge_heads(y, self.out), key, c.dropout_rate, site=2)
        y = self.mlp(rms_norm(x_BTD, self.mlp_norm, c.norm_epsilon), key, c.dropout_rate)
        return x_BTD + dropout(y, key, c.dropout_rate, site=3), (k, v)


class Decoder(nnx.Module):
    """The model; build it with `DecoderConfig.init`."""

    def __init__(self, config: DecoderConfig, key: Key[Array, ""]):
        c = self.config = config
        keys = jax.random.split(key, 4)
        width = c.d_model
        # Tied, the table is also the head, whose logits should start near N(0, 1).
        shape = (c.vocab_size, width)
        self.embedding = weight(keys[0], shape, width**-0.5, "vocab", "embed")
        table = (keys[1], (c.num_buckets, c.num_heads), width**-0.5, None, None)
        self.bias = weight(*table) if c.positions == "relative" else None
        self.layers = DecoderLayer(c, keys[2])
        self.norm = layers.ones(width)
        head = (keys[3], (width, c.vocab_size), width**-0.5, "embed", "vocab")
        self.head = None if c.tied_head else weight(*head)

    def __call__(
        self, batch: Batch, *, dropout_key: Key[Array, ""] | None = None
    ) -> Float[Array, "B T V"]:
        """Returns f32 logits of the next token at every position; a key turns dropout on."""
        x_BTD, _ = self._forward(batch, dropout_key)
        return self._logits(x_BTD)

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
        heads = ((0, 0), *slots, (0, 0), (0, 0))
        cache = DecoderCache(
            key=jnp.pad(key, heads),
            value=jnp.pad(value, heads),
            positions=jnp.pad(positions, slots),
            visible=jnp.pad(visible, slots),
            slot=jnp.int32(length),
            position=lengths_B,
        )
        return self._logits(x_B1D)[:, 0], cache

    def decode_step(
        self, cache: DecoderCache, tokens_B: Int[Array, " B"]
    ) -> tuple[Float[Array, "B V"], DecoderCache]:
        """Reads one token a row: logits of the next, and the cache with one more slot filled."""
        c = self.config
        here_1M = (jnp.arange(cache.visible.shape[1]) == cache.slot)[None]
        positions_BM = jnp.where(here_1M, cache.position[:, None], cache.positions)
        visible_BM = cache.visible | here_1M
        mask = visible_BM[:, None, None, :]
        bias = None
        if self.bias is not None:
            distance_BM = positions_BM - cache.position[:, None]
            bias = layers.relative_bias_of(self.bias, distance_BM, c.max_distance, c.prefix)

        def body(layer_and_cache, x, _):
            layer, past_key, past_value = layer_and_cache

            def update(k, v):
                return (
                    jax.lax.dynamic_update_slice_in_dim(past_key, k, cache.slot, 1),
                    jax.lax.dynamic_update_slice_in_dim(past_value, v, cache.slot, 1),
                )

            return layer(x, cache.position[:, None], update, mask, bias, None)

        x = self._embed(tokens_B[:, None], None)
        stacked = (self.layers, cache.key, cache.value)
        x, (k, v) = layers.scan_layers(body, x, stacked, c.num_layers)
        cache = DecoderCache(
            key=jax.lax.dynamic_update_slice_in_dim(cache.key, k, cache.slot, 2),
            value=jax.lax.dynamic_update_slice_in_dim(cache.value, v, cache.slot, 2),
            positions=positions_BM,
            visible=visible_BM,
            slot=cache.slot + 1,
            position=cache.position + 1,
        )
        return self._logits(x)[:, 0], cache

    def _forward(self, batch: Batch, dropout_key):
        """Returns the output before the last norm, and all keys and values [L, B, T, N, K]."""
        c = self.config
        segments_BT = constrain(batch["decoder_segment_ids"], "batch", None)
        positions_BT = constrain(batch["decoder_positions"], "batch", None)
        length = segments_BT.shape[1]
        seen = jnp.tril(jnp.ones((length, length), bool))[None, None]
        if c.prefix:
            prefix_BT = constrain(batch["decoder_prefix"], "batch", None)
            seen = seen | (prefix_BT > 0)[:, None, None, :]
        mask = seen & (segments_BT[:, None, :, None] == segments_BT[:, None, None, :])
        bias = None
        if self.bias is not None:
            bias = layers.relative_bias(self.bias, length, c.max_distance, c.prefix)

        def body(layer: DecoderLayer, x, key):
            return layer(x, positions_BT, None, mask, bias, key)

        x = self._embed(batch["decoder_input_tokens"], dropout_key)
        return layers.scan_layers(
            body, x, self.layers, c.num_layers, dropout_key=dropout_key, remat=c.remat
        )

    def _embed(self, tokens_BT, dropout_key):
        c = self.config
        tokens_BT = constrain(tokens_BT, "batch", None)
        x = layers.embed(self.embedding, tokens_BT, layers.DTYPES[c.dtype])
        key = None if dropout_key is None else jax.random.fold_in(dropout_key, c.num_layers)
        return dropout(x, key, c.dropout_rate, site=0)

    def _logits(self, x_BTD):
        y = rms_norm(x_BTD, self.norm, self.config.norm_epsilon)
        head = self.embedding[...].T if self.head is None else self.head[...]
        return layers.linear(y, head, "vocab", dtype=jnp.float32)


def rope(
    x_BTHK: Float[Array, "B T H K"], positions_BT: Int[Array, "B T"], theta: float
) -> Float[Array, "B T H K"]:
    """Rotates each pair (i, i + K/2) by position * theta**(-2i/K), in f32 (Su et al., 2021)."""
    half = x_BTHK.shape[-1] // 2
    frequency = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions_BT[:, :, None, None].astype(jnp.float32) * frequency[None, None, None]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    first, second = x_BTHK[..., :half].astype(jnp.float32), x_BTHK[..., half:].astype(jnp.float32)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BTHK.dtype)
