"""The layers of T5: attention, and what stands around it in the encoder and in the decoder.

    layer = EncoderLayer(config, compute, num_layers, rng, own)  # stacked over the layers
    bias = layer_bias(shared, lambda table: table(length))
    layer(x_BSD, mask, bias(layer), rng)              # within `scan_layers`: one layer, [B, S, D]

A stack has one table of position biases, or each of its layers one of its own (`bias_per_layer`).
"""

# B batch, S encoder length, T decoder length, D model width, H heads, K width of a head.

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from flanmix.model.api import Compute
from flanmix.model.attention import attend, projections
from flanmix.model.dropout import Site, dropout, fold
from flanmix.model.linear import merge_heads, split_heads
from flanmix.model.mlp import MLP
from flanmix.model.norm import RMSNorm
from flanmix.model.positions import RelativeBias

KeysValues = tuple[Float[Array, "B _ H K"], Float[Array, "B _ H K"]]


@runtime_checkable
class Shape(Protocol):
    """What the layers read of `T5Config`, whose fields these are."""

    @property
    def d_model(self) -> int: ...  # noqa: D102
    @property
    def d_ff(self) -> int: ...  # noqa: D102
    @property
    def num_heads(self) -> int: ...  # noqa: D102
    @property
    def head_dim(self) -> int: ...  # noqa: D102
    @property
    def mlp(self) -> str: ...  # noqa: D102
    @property
    def dropout_rate(self) -> float: ...  # noqa: D102
    @property
    def norm_epsilon(self) -> float: ...  # noqa: D102


class Attention(nnx.Module):
    """An attention with its four projections, stacked over layers."""

    def __init__(
        self, config: Shape, compute: Compute, num_layers: int, rng: Key[Array, ""]
    ) -> None:
        c = self.config = config
        self.compute = compute
        self.query, self.key, self.value, self.out = projections(
            jax.random.split(rng, 4),
            c.d_model,
            c.num_heads,
            c.num_heads,
            c.head_dim,
            query_std=c.d_model**-0.5 * c.head_dim**-0.5,
            num_layers=num_layers,
            compute=compute,
        )

    def keys_values(self, x_BSD: Float[Array, "B S D"]) -> KeysValues:
        """Returns the keys and the values of positions."""
        heads = self.config.num_heads
        return split_heads(self.key(x_BSD), heads), split_heads(self.value(x_BSD), heads)

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        keys_values: KeysValues,
        mask: Bool[Array, "B 1 #T _"],
        bias: Float[Array, "#B H #T _"] | None,
        rng: Key[Array, ""] | None,
    ) -> Float[Array, "B T D"]:
        """Attends from the positions of x to keys and values."""
        c = self.config
        q_BTHK = split_heads(self.query(x_BTD), c.num_heads)
        options = dict(compute=self.compute, dropout_rng=rng, dropout_rate=c.dropout_rate)
        return self.out(merge_heads(attend(q_BTHK, *keys_values, mask, bias, **options)))


class EncoderLayer(nnx.Module):
    """Self-attention and MLP, each behind its norm, stacked over layers."""

    def __init__(
        self,
        config: Shape,
        compute: Compute,
        num_layers: int,
        rng: Key[Array, ""],
        bias: RelativeBias | None,
    ) -> None:
        c = config
        rng_attention, rng_mlp = jax.random.split(rng)
        norm = dict(compute=compute, num_layers=num_layers)
        self.attention_norm = RMSNorm(c.d_model, c.norm_epsilon, **norm)
        self.attention = Attention(c, compute, num_layers, rng_attention)
        self.mlp_norm = RMSNorm(c.d_model, c.norm_epsilon, **norm)
        self.mlp = _mlp(c, compute, num_layers, rng_mlp)
        self.bias = bias
        self.dropout_rate = c.dropout_rate

    def __call__(
        self,
        x_BSD: Float[Array, "B S D"],
        mask: Bool[Array, "B 1 S S"],
        bias: Float[Array, "1 H S S"],
        rng: Key[Array, ""] | None,
    ) -> Float[Array, "B S D"]:
        """Applies one layer."""
        y = self.attention_norm(x_BSD)
        y = self.attention(y, self.attention.keys_values(y), mask, bias, rng)
        x_BSD += dropout(y, rng, self.dropout_rate, Site.ATTENTION)
        y = self.mlp(self.mlp_norm(x_BSD), rng)
        return x_BSD + dropout(y, rng, self.dropout_rate, Site.MLP)


class DecoderLayer(nnx.Module):
    """Self-attention, cross-attention and MLP, each behind its norm, stacked over layers."""

    def __init__(
        self,
        config: Shape,
        compute: Compute,
        num_layers: int,
        rng: Key[Array, ""],
        bias: RelativeBias | None,
    ) -> None:
        c = config
        rng_attention, rng_cross, rng_mlp = jax.random.split(rng, 3)
        norm = dict(compute=compute, num_layers=num_layers)
        self.attention_norm = RMSNorm(c.d_model, c.norm_epsilon, **norm)
        self.attention = Attention(c, compute, num_layers, rng_attention)
        self.cross_norm = RMSNorm(c.d_model, c.norm_epsilon, **norm)
        self.cross_attention = Attention(c, compute, num_layers, rng_cross)
        self.mlp_norm = RMSNorm(c.d_model, c.norm_epsilon, **norm)
        self.mlp = _mlp(c, compute, num_layers, rng_mlp)
        self.bias = bias
        self.dropout_rate = c.dropout_rate

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        cross: KeysValues,
        cache: Callable[[Array, Array], KeysValues] | None,
        mask: Bool[Array, "B 1 #T _"],
        bias: Float[Array, "#B H #T _"],
        cross_mask: Bool[Array, "B 1 #T S"],
        rng: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "B T D"], KeysValues]:
        """Applies one layer; returns its output and the keys and values of x.

        Args:
            x_BTD: the stream of activations.
            cross: keys and values of the encoder's output, this layer's.
            cache: `update(k, v) -> (keys, values)` to attend to, or None for those of x alone.
            mask: True where a position sees a key.
            bias: of the positions.
            cross_mask: True where a position sees one of the encoder.
            rng: randomness of the dropout, or None.
        """
        y = self.attention_norm(x_BTD)
        k, v = self.attention.keys_values(y)
        keys_values = (k, v) if cache is None else cache(k, v)
        y = self.attention(y, keys_values, mask, bias, rng)
        x_BTD += dropout(y, rng, self.dropout_rate, Site.ATTENTION)
        y = self.cross_norm(x_BTD)
        y = self.cross_attention(y, cross, cross_mask, None, fold(rng, Site.CROSS))
        x_BTD += dropout(y, rng, self.dropout_rate, Site.CROSS_ATTENTION)
        y = self.mlp(self.mlp_norm(x_BTD), rng)
        return x_BTD + dropout(y, rng, self.dropout_rate, Site.MLP), (k, v)


def _mlp(config: Shape, compute: Compute, num_layers: int, rng: Key[Array, ""]) -> MLP:
    c = config
    options = dict(dropout_rate=c.dropout_rate, compute=compute)
    return MLP(rng, num_layers, c.d_model, c.d_ff, c.mlp, **options)


def layer_bias(
    shared: RelativeBias | None, look_up: Callable[[RelativeBias], Array]
) -> Callable[[EncoderLayer | DecoderLayer], Array]:
    """Returns `bias(layer)` of a stack, to be called within its scan.

    Args:
        shared: the table of all layers, looked up here and once; None: each layer has its own.
        look_up: returns the bias of a table.
    """
    bias = None if shared is None else look_up(shared)

    def of_layer(layer: EncoderLayer | DecoderLayer) -> Array:
        if bias is not None:
            return bias
        assert layer.bias is not None
        return look_up(layer.bias)

    return of_layer
