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
it), one table of position biases for all layers of a stack, looked up once outside the scan (umT5
has one a layer: `bias_per_layer`), and none in the cross-attention; no biases anywhere; dropout
after the last norm too. The tied head scales its input by d_model**-0.5. The layers are in
`flanmix.model.t5_layers`.
"""

# B batch, S encoder length, T decoder length, D model width, H heads, K width of a head, V
# vocabulary, L layers, M slots of the decoder's cache.

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.fields import by_macro, check_choice, check_interval, check_range, check_types
from flanmix.model.api import DEFAULT_COMPUTE, Architecture, Batch, Compute, register_model
from flanmix.model.attention import causal, same_segment
from flanmix.model.cache import Slots
from flanmix.model.dropout import Site, dropout, fold
from flanmix.model.embedding import Embedding
from flanmix.model.linear import Dim, Linear
from flanmix.model.mlp import MLPS
from flanmix.model.norm import RMSNorm
from flanmix.model.positions import RelativeBias, check_buckets
from flanmix.model.scan import apart, scan_cached, scan_layers
from flanmix.model.sharding import constrain
from flanmix.model.t5_layers import (
    Attention,
    DecoderLayer,
    EncoderLayer,
    KeysValues,
    layer_bias,
)

START_TOKEN = 0  # what the decoder reads before its first token: T5 uses its padding

# Numbers of the rngs of dropouts outside the layers, beyond any layer's number.
_OUTSIDE = 1_000_000
_EMBEDDING, _LAST_NORM = _OUTSIDE, _OUTSIDE + 1


@register_model
@dataclass(frozen=True)
class T5Config:
    """The shape of a T5; every field is a gin name.

    Attributes:
        vocab_size: rows of the table of embeddings, and logits.
        d_model: width of the activations.
        d_ff: inner width of the MLP.
        num_heads: heads of every attention.
        head_dim: width of a head.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        mlp: a name of `flanmix.model.mlp.MLPS`; "relu" is version 1.0.
        tied_head: whether the table of embeddings is the head; so in version 1.0.
        dropout_rate: in every layer, after the embedding and after the last norms.
        num_buckets: distances that the position bias tells apart.
        max_distance: distance from which on it tells no more apart.
        bias_per_layer: whether every layer has a position bias of its own, as in umT5.
        norm_epsilon: added to the mean square.
    """

    vocab_size: int = 32128
    d_model: int = 512
    d_ff: int = 1024
    num_heads: int = 6
    head_dim: int = 64
    num_encoder_layers: int = 8
    num_decoder_layers: int = 8
    mlp: str = "gated_gelu"
    tied_head: bool = False
    dropout_rate: float = by_macro("DROPOUT", default=0.1)
    num_buckets: int = 32
    max_distance: int = 128
    bias_per_layer: bool = False
    norm_epsilon: float = 1e-6

    architecture: ClassVar[Architecture] = "encoder_decoder"

    def __post_init__(self) -> None:
        check_types(self)
        sizes = ("vocab_size", "d_model", "d_ff", "num_heads", "head_dim")
        check_range(self, 1, *sizes, "num_encoder_layers", "num_decoder_layers")
        check_choice(self, "mlp", MLPS)
        check_interval(self, "[0, 1)", "dropout_rate")
        check_interval(self, "(0, inf)", "norm_epsilon")
        check_buckets(self)

    def init(self, rng: Key[Array, ""], compute: Compute = DEFAULT_COMPUTE) -> "T5":
        """Returns a new model; under a mesh its parameters are sharded."""
        return T5(self, compute, rng)


class T5Cache(NamedTuple):
    """What decoding keeps between steps."""

    slots: Slots
    cross: Slots  # of the encoder's positions
    cross_mask: Bool[Array, "B 1 1 S"]
    filled: Int[Array, ""]  # slots that hold a token
    layers: Any  # the decoder's, one by one, if they are few

    def take(self, rows_B: Int[Array, " B"]) -> "T5Cache":
        """Returns the cache with the tokens of other rows, each of the same prompt."""
        return self._replace(slots=self.slots.take(rows_B))


class T5(nnx.Module):
    """The model; build it with `T5Config.init`."""

    def __init__(self, config: T5Config, compute: Compute, rng: Key[Array, ""]) -> None:
        c = self.config = config
        self.compute = compute
        rngs = jax.random.split(rng, 6)
        width = c.d_model
        self.embedding = Embedding(rngs[0], c.vocab_size, width, std=1.0, compute=compute)
        shared, own = self._bias(rngs[1], c.num_encoder_layers, bidirectional=True)
        self.encoder_bias = shared
        self.encoder = EncoderLayer(c, compute, c.num_encoder_layers, rngs[2], own)
        self.encoder_norm = RMSNorm(width, c.norm_epsilon, compute=compute)
        shared, own = self._bias(rngs[3], c.num_decoder_layers, bidirectional=False)
        self.decoder_bias = shared
        self.decoder = DecoderLayer(c, compute, c.num_decoder_layers, rngs[4], own)
        self.decoder_norm = RMSNorm(width, c.norm_epsilon, compute=compute)
        sides = Dim(width, "embed"), Dim(c.vocab_size, "vocab")
        head = None if c.tied_head else Linear(rngs[5], *sides, std=width**-0.5, compute=compute)
        self.head = head

    def _bias(
        self, rng: Key[Array, ""], num_layers: int, *, bidirectional: bool
    ) -> tuple[RelativeBias | None, RelativeBias | None]:
        """Returns the bias of a stack and those of its layers, one of which is None."""
        c = self.config
        bias = RelativeBias(
            rng,
            c.num_buckets,
            c.num_heads,
            std=c.d_model**-0.5,
            max_distance=c.max_distance,
            bidirectional=bidirectional,
            compute=self.compute,
            num_layers=num_layers if c.bias_per_layer else None,
        )
        return (None, bias) if c.bias_per_layer else (bias, None)

    def __call__(
        self, batch: Batch, *, dropout_rng: Key[Array, ""] | None = None
    ) -> Float[Array, "B T V"]:
        """Returns f32 logits of the next token at every position; an rng turns dropout on."""
        return self.logits(self.hidden(batch, dropout_rng=dropout_rng))

    def hidden(
        self, batch: Batch, *, dropout_rng: Key[Array, ""] | None = None
    ) -> Float[Array, "B T D"]:
        """Returns the decoder's output."""
        rngs = (None, None) if dropout_rng is None else jax.random.split(dropout_rng)
        encoded_BSD = self.encode(batch, dropout_rng=rngs[0])
        return self.decode(encoded_BSD, batch, dropout_rng=rngs[1])

    def logits(self, hidden_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Returns f32 logits of hidden states."""
        if self.head is not None:
            return self.head(hidden_BTD, jnp.float32)
        return self.embedding.logits(hidden_BTD * self.config.d_model**-0.5)

    def encode(
        self, batch: Batch, *, dropout_rng: Key[Array, ""] | None = None
    ) -> Float[Array, "B S D"]:
        """Returns the encoder's output."""
        segments_BS = constrain(batch["encoder_segment_ids"], "batch", None)
        mask = same_segment(segments_BS, segments_BS)
        bias = layer_bias(self.encoder_bias, lambda table: table(mask.shape[-1]))

        def body(layer: EncoderLayer, x: Array, rng: Array | None) -> tuple[Array, None]:
            return layer(x, mask, bias(layer), rng), None

        x = self._embed(batch["encoder_input_tokens"], dropout_rng)
        options = dict(dropout_rng=dropout_rng, remat=self.compute.remat)
        x, _ = scan_layers(body, x, self.encoder, self.config.num_encoder_layers, **options)
        return self._dropout(self.encoder_norm(x), dropout_rng, _LAST_NORM)

    def decode(
        self,
        encoded_BSD: Float[Array, "B S D"],
        batch: Batch,
        *,
        dropout_rng: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T D"]:
        """Returns the decoder's output, given the encoder's."""
        segments_BS = constrain(batch["encoder_segment_ids"], "batch", None)
        segments_BT = constrain(batch["decoder_segment_ids"], "batch", None)
        length = segments_BT.shape[1]
        mask = same_segment(segments_BT, segments_BT) & causal(length)
        source_BT = batch.get("decoder_source_ids", batch["decoder_segment_ids"])
        cross_mask = same_segment(constrain(source_BT, "batch", None), segments_BS)
        bias = layer_bias(self.decoder_bias, lambda table: table(length))

        def body(layer: DecoderLayer, x: Array, rng: Array | None) -> tuple[Array, None]:
            cross = layer.cross_attention.keys_values(encoded_BSD)
            return layer(x, cross, None, mask, bias(layer), cross_mask, rng)[0], None

        x = self._embed(batch["decoder_input_tokens"], dropout_rng)
        options = dict(dropout_rng=dropout_rng, remat=self.compute.remat)
        x, _ = scan_layers(body, x, self.decoder, self.config.num_decoder_layers, **options)
        return self._dropout(self.decoder_norm(x), dropout_rng, _LAST_NORM)

    def prefill(self, batch: Batch, max_new_tokens: int) -> tuple[Float[Array, "B V"], T5Cache]:
        """Encodes, and reads the start token: logits of the first new token, and the cache.

        Args:
            batch: `encoder_input_tokens` and `encoder_segment_ids` [B, S], one example a row.
            max_new_tokens: slots of the cache; after that many tokens it is full.
        """
        c = self.config
        encoded_BSD = self.encode(batch)

        def cross(_: None, attention: Attention) -> tuple[None, KeysValues]:
            return None, attention.keys_values(encoded_BSD)

        _, keys_values = jax.lax.scan(cross, None, self.decoder.cross_attention)
        segments_BS = constrain(batch["encoder_segment_ids"], "batch", None)
        rows = segments_BS.shape[0]
        shape = (c.num_decoder_layers, rows, max_new_tokens, c.num_heads, c.head_dim)
        cache = T5Cache(
            slots=Slots.empty(*shape, encoded_BSD.dtype),
            cross=Slots.of(*keys_values, 0),
            cross_mask=(segments_BS > 0)[:, None, None, :],
            filled=jnp.int32(0),
            layers=apart(self.decoder, c.num_decoder_layers),
        )
        return self.decode_step(cache, jnp.full(rows, START_TOKEN, jnp.int32))

    def decode_step(
        self, cache: T5Cache, tokens_B: Int[Array, " B"]
    ) -> tuple[Float[Array, "B V"], T5Cache]:
        """Reads one token a row: logits of the next, and the cache with one more slot filled."""
        slots_M = jnp.arange(cache.slots.number)
        distance = jnp.broadcast_to(slots_M - cache.filled, (tokens_B.shape[0], slots_M.size))
        distance_BM = constrain(distance, "batch", None)
        bias = layer_bias(self.decoder_bias, lambda table: table.of_distance(distance_BM))
        mask = (distance_BM <= 0)[:, None, None, :]

        def body(
            layer: DecoderLayer, x: Array, slots: Slots, number: Array | int
        ) -> tuple[Array, Slots]:
            def update(k: Array, v: Array) -> KeysValues:
                nonlocal slots
                slots = slots.filled(number, cache.filled, k, v)
                return slots.of_layer(number)

            cross = cache.cross.of_layer(number)
            x, _ = layer(x, cross, update, mask, bias(layer), cache.cross_mask, None)
            return x, slots

        x = self._embed(tokens_B[:, None], None)
        stack = (self.decoder, cache.layers, cache.slots, self.config.num_decoder_layers)
        x, slots = scan_cached(body, x, *stack)
        cache = cache._replace(slots=slots, filled=cache.filled + 1)
        return self.logits(self.decoder_norm(x))[:, 0], cache

    def _embed(
        self, tokens_BT: Int[Array, "B T"], dropout_rng: Key[Array, ""] | None
    ) -> Float[Array, "B T D"]:
        x_BTD = self.embedding(constrain(tokens_BT, "batch", None))
        return self._dropout(x_BTD, dropout_rng, _EMBEDDING)

    def _dropout(
        self, x_BTD: Float[Array, "B T D"], dropout_rng: Key[Array, ""] | None, number: int
    ) -> Float[Array, "B T D"]:
        """Applies a dropout outside the layers."""
        return dropout(x_BTD, fold(dropout_rng, number), self.config.dropout_rate, Site.ALONE)
