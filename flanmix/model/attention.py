"""Attention of many heads, and its projections.

    query, key, value, out = projections(rngs, 512, 8, 2, 64, ...)   # 8 heads over 2 key heads
    q, k = split_heads(query(x), 8), split_heads(key(x), 2)          # [B, T, 8, 64], [B, T, 2, 64]
    y = attend(q, k, v, mask, bias, compute=compute)                 # [B, T, 8, 64]

Where a row of the mask is all False the result is zeros, and no gradient passes; none ever passes a
False.
"""

# B batch, T queries, S keys, D model width, H heads, N heads of keys and values, G heads that share
# one of them (H = N x G), K width of a head.

import functools

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.model.api import Compute
from flanmix.model.dropout import Site, dropout
from flanmix.model.linear import Dim, Linear
from flanmix.model.sharding import constrain


def projections(
    rngs: Key[Array, "4"],
    width: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    *,
    query_std: float,
    num_layers: int,
    compute: Compute,
) -> tuple[Linear, Linear, Linear, Linear]:
    """Returns the projections of an attention, stacked over layers: query, key, value and out."""
    model = Dim(width, "embed")
    heads = Dim(num_heads * head_dim, "heads", num_heads)
    kv_heads = Dim(num_kv_heads * head_dim, "heads", num_kv_heads)
    linear = functools.partial(Linear, compute=compute, num_layers=num_layers)
    return (
        linear(rngs[0], model, heads, std=query_std),
        linear(rngs[1], model, kv_heads, std=width**-0.5),
        linear(rngs[2], model, kv_heads, std=width**-0.5),
        linear(rngs[3], heads, model, std=heads.size**-0.5),
    )


def attend(
    q_BTHK: Float[Array, "B T H K"],
    k_BSNK: Float[Array, "B S N K"],
    v_BSNK: Float[Array, "B S N K"],
    mask: Bool[Array, "B 1 #T S"],
    bias: Float[Array, "#B H #T S"] | None = None,  # one row for all, unless T is 1
    *,
    compute: Compute,
    cap: float | None = None,
    dropout_rng: Key[Array, ""] | None = None,
    dropout_rate: float = 0.0,
) -> Float[Array, "B T H K"]:
    """Attention of H heads over N <= H key heads; softmax in f32, no scale: scale the queries.

    Where `cap` is given, no score is above it: cap * tanh(score / cap).

    Dropout takes whole keys away, the same for all queries, so it acts on the values.
    """
    attention = compute.products.attention
    v_BSNK = dropout(v_BSNK, dropout_rng, dropout_rate, Site.VALUES, same=-1)
    shape, shared = q_BTHK.shape, k_BSNK.shape[2]
    groups = shape[2] // shared
    if groups == 1:
        return attention(q_BTHK, k_BSNK, v_BSNK, mask, bias, cap)
    if shape[1] > 1:  # copies of the keys are smaller than what is kept of the queries anyway
        k_BSHK, v_BSHK = (_repeat_heads(x, groups) for x in (k_BSNK, v_BSNK))
        return attention(q_BTHK, k_BSHK, v_BSHK, mask, bias, cap)
    # One query a row, against a cache: the heads that share a key head act as its queries.
    parts = (shape[0], None, shared, None)
    q_BGNK = constrain(q_BTHK, "batch", None, "heads", None, sizes=parts)
    q_BGNK = q_BGNK[:, 0].reshape(shape[0], shared, groups, -1).swapaxes(1, 2)
    # Of one key head alone the reshape would shard its queries, which share keys.
    q_BGNK = constrain(q_BGNK, "batch", None, "heads", None, sizes=parts)
    if bias is not None:
        parts = (bias.shape[0], shared, None, None)
        bias = constrain(bias, "batch", "heads", None, None, sizes=parts)
        bias = bias[:, :, 0].reshape(bias.shape[0], shared, groups, -1)
        bias = constrain(bias, "batch", "heads", None, None, sizes=parts)
    y_BGNK = attention(q_BGNK, k_BSNK, v_BSNK, mask, bias, cap)
    return y_BGNK.swapaxes(1, 2).reshape(shape[0], *shape[2:])[:, None]


def _repeat_heads(x_BSNK: Float[Array, "B S N K"], groups: int) -> Float[Array, "B S H K"]:
    batch, length, shared, width = x_BSNK.shape
    x = jnp.broadcast_to(x_BSNK[:, :, :, None], (batch, length, shared, groups, width))
    return constrain(x.reshape(batch, length, -1, width), "batch", None, "heads", None)


def same_segment(query_BT: Int[Array, "B T"], key_BS: Int[Array, "B S"]) -> Bool[Array, "B 1 T S"]:
    """Returns where a query's segment is the key's."""
    return query_BT[:, None, :, None] == key_BS[:, None, None, :]


def causal(length: int) -> Bool[Array, "1 1 T T"]:
    """Returns where a key is not later than the query."""
    return jnp.tril(jnp.ones((length, length), bool))[None, None]
