"""T5, an encoder-decoder with relative positions (Raffel et al., 2020), versions 1.1 and 1.0.

    config = T5Config()                                           # 1.1 small, 76,961,152 weights
    model = jax.jit(config.init)(jax.random.key(0))
    logits = model(batch)                                         # [B, T, V], f32
    logits, cache = model.prefill(batch, max_new_tokens=64)       # [B, V]: the first new token
    logits, cache = model.decode_step(cache, logits.argmax(-1))   # [B, V]: the second

A batch holds `encoder_input_tokens` and `encoder_segment_ids` [B, S], and for a call also
`decoder_input_tokens` and `decoder_segment_ids` [B, T]. Segment k of the decoder sees segment k of
the encoder and its own past; segment 0 is padding, which sees padding alone. Positions within a
segment follow each other, so the relative bias needs no positions. Where several segments of the
decoder read one of the encoder, `decoder_source_ids` [B, T] names it. Version 1.0 is `mlp="relu",
tied_head=True`.

What differs from most transformers: no scale in the attention (the initialiser of the queries holds
it), one table of position biases for all layers of a stack, looked up once outside the scan, and
none in the cross-attention; no biases anywhere; dropout after the last norm too. The tied head
scales its input by d_model**-0.5.
"""

# B batch, S encoder length, T decoder length, D model width, H heads, K width of a head, E position
# buckets, V vocabulary, L layers, M slots of the decoder's cache.

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

START_TOKEN = 0  # what the decoder reads before its first token: T5 uses its padding

Batch = Mapping[str, Array]


@dataclass(frozen=True)
class T5Config:
    """The shape of a T5; every field is a gin name."""

    vocab_size: int = 32128
    d_model: int = 512
    d_ff: int = 1024
    num_heads: int = 6
    head_dim: int = 64
    num_encoder_layers: int = 8
    num_decoder_layers: int = 8
    mlp: str = "gated_gelu"  # or "relu" (version 1.0)
    tied_head: bool = False
    dropout_rate: float = 0.1
    num_buckets: int = 32
    max_distance: int = 128
    norm_epsilon: float = 1e-6
    dtype: str = "float32"  # of activations; parameters, softmax and logits are f32
    remat: str = "none"  # or "dots", "full": what the backward computes again

    architecture = "encoder_decoder"
    stacks = ("encoder", "decoder")  # the parts whose parameters are stacked over layers

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "d_ff", "num_heads", "head_dim", "max_distance")
        layers.check_config(self, (*sizes, "num_encoder_layers", "num_decoder_layers"))
        if self.num_buckets < 4 or self.num_buckets % 4:
            raise ValueError(f"T5Config.num_buckets is {self.num_buckets}: must be a multiple of 4")

    def init(self, key: Key[Array, ""]) -> "T5":
        """Returns a new model; under a mesh its parameters are partitioned."""
        return T5(self, key)


class T5Cache(NamedTuple):
    """What decoding keeps between steps."""

    key: Float[Array, "L B M H K"]
    value: Float[Array, "L B M H K"]
    cross_key: Float[Array, "L B S H K"]
    cross_value: Float[Array, "L B S H K"]
    cross_mask: Bool[Array, "B 1 1 S"]
    filled: Int[Array, ""]  # slots of key and value that hold a token


class Attention(nnx.Module):
    """The four projections of an attention, stacked over layers."""

    def __init__(self, config: T5Config, num_layers: int, key: Key[Array, ""]):
        self.num_heads = config.num_heads
        width, inner = config.d_model, config.num_heads * config.head_dim
        k_query, k_key, k_value, k_out = jax.random.split(key, 4)
        into, out_of = (num_layers, width, inner), (num_layers, inner, width)
        cut = dict(sizes=(num_layers, width, config.num_heads))
        std = width**-0.5
        names = (None, "embed", "heads")
        self.query = weight(k_query, into, std * config.head_dim**-0.5, *names, **cut)
        self.key = weight(k_key, into, std, *names, **cut)
        self.value = weight(k_value, into, std, *names, **cut)
        cut = dict(sizes=(num_layers, config.num_heads, width))
        self.out = weight(k_out, out_of, inner**-0.5, None, "heads", "embed", **cut)

    def queries(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T H K"]:
        """Returns the queries of positions."""
        return split_heads(x_BTD, self.query, self.num_heads)

    def keys_values(self, x_BSD: Float[Array, "B S D"]) -> tuple[Array, Array]:
        """Returns keys and values [B, S, H, K] of positions."""
        heads = self.num_heads
        return split_heads(x_BSD, self.key, heads), split_heads(x_BSD, self.value, heads)


class EncoderLayer(nnx.Module):
    """Self-attention and MLP, each behind its norm, stacked over layers."""

    def __init__(self, config: T5Config, key: Key[Array, ""]):
        count, (k_attention, k_mlp) = config.num_encoder_layers, jax.random.split(key)
        self.attention_norm = layers.ones(count, config.d_model)
        self.attention = Attention(config, count, k_attention)
        self.mlp_norm = layers.ones(count, config.d_model)
        self.mlp = MLP(count, config.d_model, config.d_ff, config.mlp, k_mlp)


class DecoderLayer(nnx.Module):
    """Self-attention, cross-attention and MLP, each behind its norm, stacked over layers."""

    def __init__(self, config: T5Config, key: Key[Array, ""]):
        count, keys = config.num_decoder_layers, jax.random.split(key, 3)
        self.attention_norm = layers.ones(count, config.d_model)
        self.attention = Attention(config, count, keys[0])
        self.cross_norm = layers.ones(count, config.d_model)
        self.cross_attention = Attention(config, count, keys[1])
        self.mlp_norm = layers.ones(count, config.d_model)
        self.mlp = MLP(count, config.d_model, config.d_ff, config.mlp, keys[2])


class T5(nnx.Module):
    """The model; build it with `T5Config.init`."""

    def __init__(self, config: T5Config, key: Key[Array, ""]):
        keys = jax.random.split(key, 6)
        width = config.d_model
        self.config = config
        self.embedding = weight(keys[0], (config.vocab_size, width), 1.0, "vocab", "embed")
        table = ((config.num_buckets, config.num_heads), width**-0.5, None, None)
        self.encoder_bias = weight(keys[1], *table)
        self.encoder = EncoderLayer(config, keys[2])
        self.encoder_norm = layers.ones(width)
        self.decoder_bias = weight(keys[3], *table)
        self.decoder = DecoderLayer(config, keys[4])
        self.decoder_norm = layers.ones(width)
        head = (keys[5], (width, config.vocab_size), width**-0.5, "embed", "vocab")
        self.head = None if config.tied_head else weight(*head)

    def __call__(
        self, batch: Batch, *, dropout_key: Key[Array, ""] | None = None
    ) -> Float[Array, "B T V"]:
        """Returns f32 logits of the next token at every position; a key turns dropout on."""
        encoder_key, decoder_key = (
            (None, None) if dropout_key is None else jax.random.split(dropout_key)
        )
        encoded_BSD = self.encode(batch, dropout_key=encoder_key)
        return self.decode(encoded_BSD, batch, dropout_key=decoder_key)

    def encode(
        self, batch: Batch, *, dropout_key: Key[Array, ""] | None = None
    ) -> Float[Array, "B S D"]:
        """Returns the encoder's output."""
        c = self.config
        segments_BS = constrain(batch["encoder_segment_ids"], "batch", None)
        mask = _same_segment(segments_BS, segments_BS)
        bias = layers.relative_bias(self.encoder_bias, mask.shape[-1], c.max_distance, True)

        def body(layer: EncoderLayer, x, key):
            y = rms_norm(x, layer.attention_norm, c.norm_epsilon)
            y = self._attend(layer.attention, y, layer.attention.keys_values(y), mask, bias, key)
            x += dropout(y, key, c.dropout_rate, site=2)
            y = rms_norm(x, layer.mlp_norm, c.norm_epsilon)
            return x + dropout(layer.mlp(y, key, c.dropout_rate), key, c.dropout_rate, site=3), None

        x = self._embed(batch["encoder_input_tokens"], dropout_key)
        x, _ = layers.scan_layers(
            body, x, self.encoder, c.num_encoder_layers, dropout_key=dropout_key, remat=c.remat
        )
        return self._final(x, self.encoder_norm, dropout_key)

    def decode(
        self,
        encoded_BSD: Float[Array, "B S D"],
        batch: Batch,
        *,
        dropout_key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T V"]:
        """Returns f32 logits at every decoder position, given the encoder's output."""
        c = self.config
        segments_BS = constrain(batch["encoder_segment_ids"], "batch", None)
        segments_BT = constrain(batch["decoder_segment_ids"], "batch", None)
        length = segments_BT.shape[1]
        causal = jnp.tril(jnp.ones((length, length), bool))[None, None]
        mask = _same_segment(segments_BT, segments_BT) & causal
        source_BT = batch.get("decoder_source_ids", batch["decoder_segment_ids"])
        cross_mask = _same_segment(constrain(source_BT, "batch", None), segments_BS)
        bias = layers.relative_bias(self.decoder_bias, length, c.max_distance, False)

        def body(layer: DecoderLayer, x, key):
            y = rms_norm(x, layer.attention_norm, c.norm_epsilon)
            y = self._attend(layer.attention, y, layer.attention.keys_values(y), mask, bias, key)
            x += dropout(y, key, c.dropout_rate, site=2)
            cross_key = None if key is None else jax.random.fold_in(key, 4)
            keys_values = layer.cross_attention.keys_values(encoded_BSD)
            y = rms_norm(x, layer.cross_norm, c.norm_epsilon)
            y = self._attend(layer.cross_attention, y, keys_values, cross_mask, None, cross_key)
            x += dropout(y, key, c.dropout_rate, site=5)
            y = rms_norm(x, layer.mlp_norm, c.norm_epsilon)
            return x + dropout(layer.mlp(y, key, c.dropout_rate), key, c.dropout_rate, site=3), None

        x = self._embed(batch["decoder_input_tokens"], dropout_key)
        x, _ = layers.scan_layers(
            body, x, self.decoder, c.num_decoder_layers, dropout_key=dropout_key, remat=c.remat
        )
        return self._logits(self._final(x, self.decoder_norm, dropout_key))

    def prefill(self, batch: Batch, max_new_tokens: int) -> tuple[Float[Array, "B V"], T5Cache]:
        """Encodes, and reads the start token: logits of the first new token, and the cache.

        Args:
            batch: `encoder_input_tokens` and `encoder_segment_ids` [B, S], one example a row.
            max_new_tokens: slots of the cache; after that many tokens it is full.
        """
        c = self.config
        encoded_BSD = self.encode(batch)

        def cross(_, layer_attention: Attention):
            return None, layer_attention.keys_values(encoded_BSD)

        _, (cross_key, cross_value) = jax.lax.scan(cross, None, self.decoder.cross_attention)
        segments_BS = constrain(batch["encoder_segment_ids"], "batch", None)
        rows = segments_BS.shape[0]
        shape = (c.num_decoder_layers, rows, max_new_tokens, c.num_heads, c.head_dim)
        empty = constrain(jnp.zeros(shape, encoded_BSD.dtype), None, "batch", None, "heads", None)
        cross_mask = (segments_BS > 0)[:, None, None, :]
        cache = T5Cache(empty, empty, cross_key, cross_value, cross_mask, jnp.int32(0))
        return self.decode_step(cache, jnp.full(rows, START_TOKEN, jnp.int32))

    def decode_step(
        self, cache: T5Cache, tokens_B: Int[Array, " B"]
    ) -> tuple[Float[Array, "B V"], T5Cache]:
        """Reads one token a row: logits of the next, and the cache with one more slot filled."""
        c = self.config
        slots_M = jnp.arange(cache.key.shape[2])
        distance = jnp.broadcast_to(slots_M - cache.filled, (tokens_B.shape[0], slots_M.size))
        distance_BM = constrain(distance, "batch", None)
        bias = layers.relative_bias_of(self.decoder_bias, distance_BM, c.max_distance, False)
        mask = (distance_BM <= 0)[:, None, None, :]

        def body(layer_and_cache, x, _):
            layer, past_key, past_value, cross_key, cross_value = layer_and_cache
            y = rms_norm(x, layer.attention_norm, c.norm_epsilon)
            k, v = layer.attention.keys_values(y)
            keys_values = (
                jax.lax.dynamic_update_slice_in_dim(past_key, k, cache.filled, 1),
                jax.lax.dynamic_update_slice_in_dim(past_value, v, cache.filled, 1),
            )
            x += self._attend(layer.attention, y, keys_values, mask, bias, None)
            y = rms_norm(x, layer.cross_norm, c.norm_epsilon)
            cross = (cross_key, cross_value)
            x += self._attend(layer.cross_attention, y, cross, cache.cross_mask, None, None)
            y = rms_norm(x, layer.mlp_norm, c.norm_epsilon)
            return x + layer.mlp(y, None, 0.0), (k, v)

        x = self._embed(tokens_B[:, None], None)
        stacked = (self.decoder, cache.key, cache.value, cache.cross_key, cache.cross_value)
        x, (k, v) = layers.scan_layers(body, x, stacked, c.num_decoder_layers)
        cache = cache._replace(
            key=jax.lax.dynamic_update_slice_in_dim(cache.key, k, cache.filled, 2),
            value=jax.lax.dynamic_update_slice_in_dim(cache.value, v, cache.filled, 2),
            filled=cache.filled + 1,
        )
        return self._logits(self._final(x, self.decoder_norm, None))[:, 0], cache

    def _embed(self, tokens_BT, dropout_key):
        c = self.config
        tokens_BT = constrain(tokens_BT, "batch", None)
        x = layers.embed(self.embedding, tokens_BT, layers.DTYPES[c.dtype])
        return dropout(x, _outer(dropout_key, 0), c.dropout_rate, site=0)

    def _attend(self, attention: Attention, y_BTD, keys_values, mask, bias, key):
        rate = self.config.dropout_rate
        q, (k, v) = attention.queries(y_BTD), keys_values
        y = attend(q, k, v, mask, bias, dropout_key=key, dropout_rate=rate)
        return merge_heads(y, attention.out)

    def _final(self, x_BTD, scale_D, dropout_key):
        x_BTD = rms_norm(x_BTD, scale_D, self.config.norm_epsilon)
        return dropout(x_BTD, _outer(dropout_key, 1), self.config.dropout_rate, site=0)

    def _logits(self, y_BTD):
        if self.head is not None:
            return layers.linear(y_BTD, self.head[...], "vocab", dtype=jnp.float32)
        y_BTD = y_BTD * self.config.d_model**-0.5
        return layers.linear(y_BTD, self.embedding[...].T, "vocab", dtype=jnp.float32)


def _same_segment(query_BT: Int[Array, "B T"], key_BS: Int[Array, "B S"]) -> Bool[Array, "B 1 T S"]:
    return query_BT[:, None, :, None] == key_BS[:, None, None, :]


def _outer(dropout_key, place: int):
    """Returns a key for a dropout outside the layers, whose numbers count from 0."""
    return None if dropout_key is None else jax.random.fold_in(dropout_key, 1_000_000 + place)
