"""One layer of a decoder: self-attention and MLP, each behind its norm.

    layer = DecoderLayer(config, compute, rng)                       # stacked over the layers
    x, (k, v) = layer(x_BTD, positions_BT, None, mask, None, None)   # within `scan_layers`

What a family adds to it is a field of the configuration: norms after attention and MLP, norms of
queries and keys, biases, a cap, and local layers that turn by frequencies of their own.
"""

# B batch, T queries, D model width, H heads, N heads of keys and values, K width of a head, L
# layers.

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.model.api import Compute
from flanmix.model.attention import attend, projections
from flanmix.model.dropout import Site, dropout
from flanmix.model.linear import Bias, merge_heads, split_heads
from flanmix.model.mlp import MLP
from flanmix.model.norm import RMSNorm
from flanmix.model.rope import Rope, turned
from flanmix.model.window import Kind, chosen

KeysValues = tuple[Float[Array, "B _ N K"], Float[Array, "B _ N K"]]


@runtime_checkable
class Shape(Protocol):
    """What a layer reads of `DecoderConfig`, whose fields and properties these are."""

    @property
    def d_model(self) -> int: ...  # noqa: D102
    @property
    def d_ff(self) -> int: ...  # noqa: D102
    @property
    def num_heads(self) -> int: ...  # noqa: D102
    @property
    def num_kv_heads(self) -> int: ...  # noqa: D102
    @property
    def head_dim(self) -> int: ...  # noqa: D102
    @property
    def num_layers(self) -> int: ...  # noqa: D102
    @property
    def mlp(self) -> str: ...  # noqa: D102
    @property
    def dropout_rate(self) -> float: ...  # noqa: D102
    @property
    def norm_epsilon(self) -> float: ...  # noqa: D102
    @property
    def norm_plus_one(self) -> bool: ...  # noqa: D102
    @property
    def post_norms(self) -> bool: ...  # noqa: D102
    @property
    def qk_norm(self) -> bool: ...  # noqa: D102
    @property
    def qkv_bias(self) -> bool: ...  # noqa: D102
    @property
    def query_width(self) -> int | None: ...  # noqa: D102
    @property
    def attention_cap(self) -> float | None: ...  # noqa: D102
    @property
    def rope(self) -> Rope | None: ...  # noqa: D102
    @property
    def local_rope(self) -> Rope | None: ...  # noqa: D102


class DecoderLayer(nnx.Module):
    """Self-attention and MLP, each behind its norm, stacked over layers."""

    def __init__(self, config: Shape, compute: Compute, rng: Key[Array, ""]) -> None:
        c = self.config = config
        self.compute = compute
        rngs = jax.random.split(rng, 5)
        stack = dict(compute=compute, num_layers=c.num_layers)
        shape = (c.d_model, c.num_heads, c.num_kv_heads, c.head_dim)
        self.query, self.key, self.value, self.out = projections(
            rngs[:4], *shape, query_std=c.d_model**-0.5, **stack
        )
        projected = (self.query, self.key, self.value)
        self.query_bias, self.key_bias, self.value_bias = (
            Bias(linear.outputs, **stack) if c.qkv_bias else None for linear in projected
        )

        def norm(width: int) -> RMSNorm:
            return RMSNorm(width, c.norm_epsilon, plus_one=c.norm_plus_one, **stack)

        self.attention_norm, self.mlp_norm = norm(c.d_model), norm(c.d_model)
        self.attention_post_norm = norm(c.d_model) if c.post_norms else None
        self.mlp_post_norm = norm(c.d_model) if c.post_norms else None
        self.query_norm = norm(c.head_dim) if c.qk_norm else None
        self.key_norm = norm(c.head_dim) if c.qk_norm else None
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
        self, x_BTD: Float[Array, "B T D"], positions_BT: Int[Array, "B T"], local: Kind
    ) -> tuple[Float[Array, "B T H K"], Float[Array, "B T N K"], Float[Array, "B T N K"]]:
        """Returns queries (scaled), keys and values."""
        c = self.config
        q = split_heads(_through(self.query_bias, self.query(x_BTD)), c.num_heads)
        k = split_heads(_through(self.key_bias, self.key(x_BTD)), c.num_kv_heads)
        v = split_heads(_through(self.value_bias, self.value(x_BTD)), c.num_kv_heads)
        q, k = _through(self.query_norm, q), _through(self.key_norm, k)
        if c.rope is not None:
            frequencies = c.rope.frequencies(c.head_dim)
            if c.local_rope is not None:
                frequencies = chosen(local, c.local_rope.frequencies(c.head_dim), frequencies)
            q, k = (turned(x, positions_BT, frequencies, c.rope.magnitude) for x in (q, k))
        return q * (c.query_width or c.head_dim) ** -0.5, k, v

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        positions_BT: Int[Array, "B T"],
        cache: Callable[[Array, Array], KeysValues] | None,
        mask: Bool[Array, "B 1 #T _"],
        bias: Float[Array, "#B H #T _"] | None,
        rng: Key[Array, ""] | None,
        local: Kind = False,
    ) -> tuple[Float[Array, "B T D"], KeysValues]:
        """Applies one layer; returns its output and the keys and values of x.

        Args:
            x_BTD: the stream of activations.
            positions_BT: positions within the segments.
            cache: `update(k, v) -> (keys, values)` to attend to, or None for those of x alone.
            mask: True where a position sees a key; with the window, where the layer is local.
            bias: of the positions, or None.
            rng: randomness of the dropout, or None.
            local: whether the layer is local.
        """
        c = self.config
        q, k, v = self.project(self.attention_norm(x_BTD), positions_BT, local)
        keys, values = (k, v) if cache is None else cache(k, v)
        options = dict(compute=self.compute, dropout_rng=rng, dropout_rate=c.dropout_rate)
        y = attend(q, keys, values, mask, bias, cap=c.attention_cap, **options)
        y = _through(self.attention_post_norm, self.out(merge_heads(y)))
        x_BTD += dropout(y, rng, c.dropout_rate, Site.ATTENTION)
        y = _through(self.mlp_post_norm, self.mlp(self.mlp_norm(x_BTD), rng))
        return x_BTD + dropout(y, rng, c.dropout_rate, Site.MLP), (k, v)


def _through(module: Callable[[Array], Array] | None, x: Array) -> Array:
    """What a module makes of x, where the configuration has it."""
    return x if module is None else module(x)
