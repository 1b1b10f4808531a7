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

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.fields import by_macro, check_choice, check_interval, check_range, check_types
from flanmix.model.api import DEFAULT_COMPUTE, Architecture, Batch, Compute, register_model
from flanmix.model.attention import causal, same_segment
from flanmix.model.cache import Slots
from flanmix.model.decoder_layer import DecoderLayer, KeysValues
from flanmix.model.dropout import Site, dropout, fold
from flanmix.model.embedding import Embedding
from flanmix.model.kernels import capped
from flanmix.model.linear import Dim, Linear
from flanmix.model.mlp import MLPS
from flanmix.model.norm import RMSNorm
from flanmix.model.positions import RelativeBias, check_buckets
from flanmix.model.rope import SCALINGS, Rope, check_rope
from flanmix.model.scan import apart, scan_cached, scan_layers
from flanmix.model.sharding import constrain
from flanmix.model.window import check_window, chosen, local_layers, near


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
        rope_scaling: how the rotation is slowed for longer texts: "none", "linear", "llama3" or
            "yarn"; see `flanmix.model.rope`.
        rope_factor: by how much.
        rope_low_turns: pairs of dimensions that turn at most so often within `rope_length` are
            slowed by the whole factor ("llama3", "yarn").
        rope_high_turns: those that turn at least so often are not slowed.
        rope_length: length of the texts before they became longer.
        local_rope_theta: `rope_theta` of local layers, which are not slowed; None: the others'.
        window: tokens that a token of a local layer sees, itself and those before it; None: all.
        window_pattern: which layers are local, "l", and which see all, "g"; repeated over the
            layers: "lg" is Gemma 2's, "lllllg" Gemma 3's.
        num_buckets: distances that a relative bias tells apart.
        max_distance: distance from which on it tells no more apart.
        tied_head: whether the table of embeddings is the head.
        prefix: whether all of a segment sees its prefix: a prefix-LM.
        dropout_rate: in every layer and after the embedding.
        norm_epsilon: added to the mean square.
        norm_plus_one: whether norms keep what is added to a scale of one (Gemma).
        post_norms: whether attention and MLP also have a norm behind them (Gemma 2).
        qk_norm: whether the heads of queries and keys are normalised (Qwen 3).
        qkv_bias: whether queries, keys and values have biases (Qwen 2).
        query_width: width whose square root divides the queries; None: `head_dim`.
        attention_cap: what no score of attention exceeds, by a tanh; None: no cap.
        logit_cap: what no logit exceeds; None: no cap.
        scaled_embedding: whether embeddings are multiplied by the square root of `d_model`.
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
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_low_turns: float = 1.0
    rope_high_turns: float = 4.0
    rope_length: int = 8192
    local_rope_theta: float | None = None
    window: int | None = None
    window_pattern: str = "l"
    num_buckets: int = 32
    max_distance: int = 128
    tied_head: bool = False
    prefix: bool = False
    dropout_rate: float = by_macro("DROPOUT", default=0.0)
    norm_epsilon: float = 1e-6
    norm_plus_one: bool = False
    post_norms: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    query_width: int | None = None
    attention_cap: float | None = None
    logit_cap: float | None = None
    scaled_embedding: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        sizes = ("vocab_size", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_dim")
        check_range(self, 1, *sizes, "num_layers", "window", "query_width", "rope_length")
        check_interval(self, "[0, 1)", "dropout_rate")
        check_interval(self, "(0, inf)", "norm_epsilon", "rope_theta", "local_rope_theta")
        check_interval(self, "(0, inf)", "rope_low_turns", "attention_cap", "logit_cap")
        check_interval(self, "[1, inf)", "rope_factor")
        check_choice(self, "rope_scaling", SCALINGS)
        check_choice(self, "mlp", MLPS)
        check_choice(self, "positions", ("rope", "relative"))
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"DecoderConfig.num_kv_heads is {self.num_kv_heads}: must divide num_heads, "
                f"which is {self.num_heads}"
            )
        check_rope(self)
        check_window(self)
        check_buckets(self)

    @property
    def architecture(self) -> Architecture:
        """Which batches the model reads: "causal" or "prefix"."""
        return "prefix" if self.prefix else "causal"

    @property
    def rope(self) -> Rope | None:
        """How queries and keys turn; None: not at all."""
        if self.positions != "rope":
            return None
        turns = (self.rope_low_turns, self.rope_high_turns)
        scaling = (self.rope_scaling, self.rope_factor, *turns, self.rope_length)
        return Rope(self.rope_theta, *scaling)

    @property
    def local_rope(self) -> Rope | None:
        """How they turn in local layers; None: as in the others."""
        return None if self.local_rope_theta is None else Rope(self.local_rope_theta)

    def kinds(self) -> bool | Array:
        """Returns whether the layers are local: one of them for all, or one each, to be scanned."""
        if self.window is None:
            return False
        kinds = local_layers(self.window_pattern, self.num_layers)
        return bool(kinds[0]) if len(set(kinds)) == 1 else jnp.asarray(kinds)

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
        plus_one = c.norm_plus_one
        self.norm = RMSNorm(c.d_model, c.norm_epsilon, compute=compute, plus_one=plus_one)
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
            logits_BTV = self.embedding.logits(hidden_BTD)
        else:
            logits_BTV = self.head(hidden_BTD, jnp.float32)
        cap = self.config.logit_cap
        return logits_BTV if cap is None else capped(logits_BTV, cap)

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
        distance_BM = positions_BM - cache.position[:, None]
        mask = local_mask = visible_BM[:, None, None, :]
        if (window := self.config.window) is not None:
            local_mask = mask & (distance_BM > -window)[:, None, None, :]
        bias = None if self.bias is None else self.bias.of_distance(distance_BM)
        kinds = self.config.kinds()

        def body(
            layer: DecoderLayer, x: Array, slots: Slots, number: Array | int
        ) -> tuple[Array, Slots]:
            local = kinds if isinstance(kinds, bool) else kinds[number]

            def update(k: Array, v: Array) -> KeysValues:
                nonlocal slots
                slots = slots.filled(number, cache.slot, k, v)
                return slots.of_layer(number)

            own = chosen(local, local_mask, mask)
            x, _ = layer(x, cache.position[:, None], update, own, bias, None, local)
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
        mask = local_mask = seen & same_segment(segments_BT, segments_BT)
        if (window := self.config.window) is not None:
            local_mask = mask & near(length, window)
        bias = None if self.bias is None else self.bias(length)
        kinds = self.config.kinds()

        def body(stacked: tuple[Any, ...], x: Array, rng: Any) -> tuple[Array, KeysValues]:
            layer, kind = stacked
            local = kinds if isinstance(kinds, bool) else kind
            own = chosen(local, local_mask, mask)
            return layer(x, positions_BT, None, own, bias, rng, local)

        x = self._embed(batch["decoder_input_tokens"], dropout_rng)
        options = dict(dropout_rng=dropout_rng, remat=self.compute.remat)
        stacked = (self.layers, None if isinstance(kinds, bool) else kinds)
        return scan_layers(body, x, stacked, self.config.num_layers, **options)

    def _embed(
        self, tokens_BT: Int[Array, "B T"], dropout_rng: Key[Array, ""] | None
    ) -> Float[Array, "B T D"]:
        c = self.config
        x_BTD = self.embedding(constrain(tokens_BT, "batch", None))
        if c.scaled_embedding:  # by a number of the activations' type, as Gemma's own code
            x_BTD *= jnp.asarray(c.d_model**0.5, x_BTD.dtype)
        # The number after the last layer's.
        return dropout(x_BTD, fold(dropout_rng, c.num_layers), c.dropout_rate, Site.ALONE)
