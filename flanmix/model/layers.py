"""The parts that T5 and the decoder share, as plain functions and two small modules.

Parameters are f32, stacked over layers (leading dimension L) and matrices otherwise, so that an
optimizer that factors second moments sees one matrix a layer. Modules are pytrees: `scan_layers`
walks a stacked module and hands its body one layer at a time, with the layer's own dropout key.
Nothing here holds randomness: `dropout` folds a site's number into the key it is given, and without
a key it does nothing.

    attend(q[1,2,1,4], k[1,3,1,4], v[1,3,1,4], mask[1,1,2,3]) -> [1,2,1,4]; where a row of the mask
    is all False the result is finite, and no gradient passes a False.
"""

# B batch, T queries, S keys, D model width, F inner width of the MLP, H heads, N heads of keys and
# values, G heads that share one of them (H = N x G), K width of a head, V vocabulary, L layers.

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.model.sharding import constrain, spec

# Finite, so that a row with nothing to see gives no NaN; beside any other score its weight is
# exactly 0.
MASKED = -1e9

# name -> (activation of the first branch, whether a linear second branch multiplies it)
MLPS: dict[str, tuple[Callable[[Array], Array], bool]] = {
    "relu": (jax.nn.relu, False),
    "gated_gelu": (lambda x: jax.nn.gelu(x, approximate=True), True),
    "geglu": (lambda x: jax.nn.gelu(x, approximate=True), True),
    "swiglu": (jax.nn.silu, True),
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
REMAT: dict[str, Callable[..., bool] | None] = {
    "none": jax.checkpoint_policies.everything_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": None,
}


def check_config(config: Any, positive: tuple[str, ...]) -> None:
    """Checks the fields that both models' configurations have.

    Raises:
        ValueError: a size is not positive, or a name is unknown; says which field and value.
    """
    kind = type(config).__name__
    for field in positive:
        value = getattr(config, field)
        if not isinstance(value, int):
            raise ValueError(f"{kind}.{field} is {value!r}: must be a whole number")
        if value < 1:
            raise ValueError(f"{kind}.{field} is {value}: must be at least 1")
    if not 0.0 <= config.dropout_rate < 1.0:
        raise ValueError(f"{kind}.dropout_rate is {config.dropout_rate}: must be in [0, 1)")
    for field, known in (("mlp", MLPS), ("dtype", DTYPES), ("remat", REMAT)):
        value = getattr(config, field)
        if value not in known:
            names = ", ".join(repr(name) for name in known)
            raise ValueError(f"{kind}.{field} is {value!r}: must be one of {names}")


def weight(
    key: Key[Array, ""], shape: tuple[int, ...], std: float, *names: str | None, sizes=None
) -> nnx.Param:
    """Returns a parameter drawn from N(0, std^2), partitioned as `sharding.spec` says."""
    sizes = shape if sizes is None else sizes
    return nnx.Param(std * jax.random.normal(key, shape, out_sharding=spec(*names, sizes=sizes)))


def ones(*shape: int) -> nnx.Param:
    """Returns a scale for `rms_norm`."""
    return nnx.Param(constrain(jnp.ones(shape), *(None,) * len(shape)))


def rms_norm(
    x_BTD: Float[Array, "B T D"], scale_D: nnx.Param, epsilon: float
) -> Float[Array, "B T D"]:
    """Root mean square normalisation, in f32, without mean or bias (Zhang and Sennrich, 2019)."""
    x = x_BTD.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon)
    return x.astype(x_BTD.dtype) * scale_D[...][None, None, :].astype(x_BTD.dtype)


def dropout(x: Array, key: Key[Array, ""] | None, rate: float, site: int) -> Array:
    """Zeroes features at `rate`, one draw for all positions (axis -2) of an example, as T5 does.

    `site` is the number of this dropout within its layer.
    """
    if key is None or rate == 0.0:
        return x
    shape = (*x.shape[:-2], 1, x.shape[-1])
    kept = jax.random.bernoulli(jax.random.fold_in(key, site), 1.0 - rate, shape)
    scale = jnp.where(kept, 1.0 / (1.0 - rate), 0.0).astype(x.dtype)
    return x * constrain(scale, "batch", *(None,) * (x.ndim - 1))


def embed(
    table_VD: nnx.Param, tokens_BT: Int[Array, "B T"], dtype: DTypeLike
) -> Float[Array, "B T D"]:
    """Looks tokens up; the table's width is gathered first, so that only the vocabulary is cut."""
    table = constrain(table_VD[...], "vocab", None)
    out = spec("batch", None, None)
    return table.at[tokens_BT].get(out_sharding=out, mode="clip").astype(dtype)


def split_heads(
    x_BTD: Float[Array, "B T D"], kernel: nnx.Param, num_heads: int
) -> Float[Array, "B T H K"]:
    """Projects with a kernel `[D, H*K]` and cuts the result into heads."""
    out = spec("batch", None, "heads", sizes=(None, None, num_heads))
    y = jnp.einsum("btd,df->btf", x_BTD, kernel[...].astype(x_BTD.dtype), out_sharding=out)
    return y.reshape(*y.shape[:2], num_heads, -1)


def merge_heads(y_BTHK: Float[Array, "B T H K"], kernel: nnx.Param) -> Float[Array, "B T D"]:
    """Projects all heads with a kernel `[H*K, D]`, back to the model's width."""
    y = y_BTHK.reshape(*y_BTHK.shape[:2], -1)
    out = spec("batch", None, None)
    return jnp.einsum("btf,fd->btd", y, kernel[...].astype(y.dtype), out_sharding=out)


def attend(
    q_BTHK: Float[Array, "B T H K"],
    k_BSNK: Float[Array, "B S N K"],
    v_BSNK: Float[Array, "B S N K"],
    mask: Bool[Array, "#B 1 #T S"],
    bias: Float[Array, "#B H #T S"] | None = None,
    *,
    dropout_key: Key[Array, ""] | None = None,
    dropout_rate: float = 0.0,
) -> Float[Array, "B T H K"]:
    """Attention of H heads over N <= H key heads; softmax in f32, no scale: scale the queries."""
    batch, queries, heads, width = q_BTHK.shape
    shared = k_BSNK.shape[2]
    heads_axis = spec("batch", None, "heads", None, None, sizes=(None, None, shared, None, None))
    q_BTNGK = jax.lax.reshape(
        q_BTHK, (batch, queries, shared, heads // shared, width), out_sharding=heads_axis
    )
    scores = jnp.einsum("btngk,bsnk->bngts", q_BTNGK, k_BSNK, preferred_element_type=jnp.float32)
    if bias is not None:
        names = ("batch" if bias.shape[0] > 1 else None, "heads", None, None)
        bias = constrain(bias, *names, sizes=(bias.shape[0], shared, None, None))
        scores += bias.reshape(bias.shape[0], shared, heads // shared, *bias.shape[2:])
    scores = jnp.where(mask[:, :, None], scores, MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v_BSNK.dtype)
    weights = dropout(weights, dropout_key, dropout_rate, site=0)
    y_BTNGK = jnp.einsum("bngts,bsnk->btngk", weights, v_BSNK)
    out = spec("batch", None, "heads", None, sizes=(None, None, shared, None))
    return jax.lax.reshape(y_BTNGK, q_BTHK.shape, out_sharding=out)


def relative_bucket(
    distance: Int[Array, "*n"], num_buckets: int, max_distance: int, bidirectional: bool
) -> Int[Array, "*n"]:
    """Buckets `distance` = key position - query position as T5 does (Raffel et al., 2020, 2.1).

    Half of a direction's buckets hold one distance each, the others grow logarithmically up to
    `max_distance`.
    """
    if bidirectional:
        num_buckets //= 2
        offset = jnp.where(distance > 0, num_buckets, 0)
        distance = jnp.abs(distance)
    else:
        offset = 0
        distance = jnp.maximum(-distance, 0)
    exact = num_buckets // 2
    ratio = distance.astype(jnp.float32) / exact + np.finfo(np.float32).eps
    large = exact + (jnp.log(ratio) / np.log(max_distance / exact) * (num_buckets - exact)).astype(
        jnp.int32
    )
    return offset + jnp.where(distance < exact, distance, jnp.minimum(large, num_buckets - 1))


def relative_bias(
    table_EH: nnx.Param, length: int, max_distance: int, bidirectional: bool
) -> Float[Array, "1 H T T"]:
    """Returns the bias between all positions of a row.

    It depends on the distance alone, so 2T-1 values are looked up and laid out along the diagonals:
    a lookup for each pair would need a scatter of T^2 values in the backward.
    """
    distance = jnp.arange(-length, length)
    bucket = relative_bucket(distance, table_EH.shape[0], max_distance, bidirectional)
    values_HX = table_EH[...].T[:, bucket]
    heads, width = values_HX.shape
    # Row t must begin at distance -t: repeats of 2T values cut into rows of 2T-1 shift by one.
    flat = jnp.broadcast_to(values_HX[:, None], (heads, length, width)).reshape(heads, -1)
    skewed = flat[:, length : length + length * (width - 1)].reshape(heads, length, width - 1)
    return constrain(skewed[None, :, :, :length], None, "heads", None, None)


def relative_bias_of(
    table_EH: nnx.Param, distance_BS: Int[Array, "B S"], max_distance: int, bidirectional: bool
) -> Float[Array, "B H 1 S"]:
    """Returns the bias of one query a row; the distance is key position - query position."""
    bucket = relative_bucket(distance_BS, table_EH.shape[0], max_distance, bidirectional)
    bias_BSH = table_EH[...].at[bucket].get(out_sharding=spec("batch", None, None))
    return constrain(jnp.moveaxis(bias_BSH, -1, 1)[:, :, None], "batch", "heads", None, None)


class MLP(nnx.Module):
    """Two matrices around an activation, and a third where a branch gates it (Shazeer, 2020)."""

    def __init__(self, layers: int, width: int, inner: int, kind: str, key: Key[Array, ""]):
        k0, k1, k2 = jax.random.split(key, 3)
        self.kind = kind
        into = ((layers, width, inner), width**-0.5, None, "embed", "mlp")
        self.wi_0 = weight(k0, *into)
        self.wi_1 = weight(k1, *into) if MLPS[kind][1] else None
        self.wo = weight(k2, (layers, inner, width), inner**-0.5, None, "mlp", "embed")

    def __call__(
        self, x_BTD: Float[Array, "B T D"], key: Key[Array, ""] | None, rate: float
    ) -> Float[Array, "B T D"]:
        """Applies one layer's MLP, with dropout on the inner values."""
        activation, _ = MLPS[self.kind]
        dtype, inner = x_BTD.dtype, spec("batch", None, "mlp")
        h_BTF = activation(
            jnp.einsum("btd,df->btf", x_BTD, self.wi_0[...].astype(dtype), out_sharding=inner)
        )
        if self.wi_1 is not None:
            h_BTF *= jnp.einsum(
                "btd,df->btf", x_BTD, self.wi_1[...].astype(dtype), out_sharding=inner
            )
        h_BTF = dropout(h_BTF, key, rate, site=1)
        out = spec("batch", None, None)
        return jnp.einsum("btf,fd->btd", h_BTF, self.wo[...].astype(dtype), out_sharding=out)


def scan_layers(
    body: Callable[..., tuple[Array, Any]],
    x_BTD: Float[Array, "B T D"],
    stacked: Any,
    num_layers: int,
    *,
    dropout_key: Key[Array, ""] | None = None,
    remat: str = "none",
) -> tuple[Float[Array, "B T D"], Any]:
    """Runs `body(layer, x, key) -> (x, extra)` over stacked layers; the extras come back stacked.

    `stacked` is any pytree whose leaves lead with L (a module, or a module and its cache); `key` is
    the dropout key with the layer's number folded in, or None. `remat` names what the backward may
    keep (see `REMAT`).
    """

    def step(x, numbered):
        number, layer = numbered
        key = None if dropout_key is None else jax.random.fold_in(dropout_key, number)
        return body(layer, x, key)

    if remat != "none":
        step = jax.checkpoint(step, policy=REMAT[remat], prevent_cse=False)
    return jax.lax.scan(step, x_BTD, (jnp.arange(num_layers), stacked))
