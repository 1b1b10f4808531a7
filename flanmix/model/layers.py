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

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.model.sharding import P, constrain, spec, spec_of

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


@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=2)
def _rms_norm(x_BTD: Array, scale_D: Array, epsilon: float) -> Array:
    x = x_BTD.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon)
    return x.astype(x_BTD.dtype) * scale_D[None, None, :].astype(x_BTD.dtype)


def rms_norm(
    x_BTD: Float[Array, "B T D"], scale_D: nnx.Param, epsilon: float
) -> Float[Array, "B T D"]:
    """Root mean square normalisation, in f32, without mean or bias (Zhang and Sennrich, 2019)."""
    return _rms_norm(x_BTD, scale_D[...], epsilon)


def dropout(x: Array, key: Key[Array, ""] | None, rate: float, site: int, same: int = -2) -> Array:
    """Zeroes features at `rate`, with one draw for all positions of an example, as T5 does.

    Args:
        x: [B, ..., T, D].
        key: a layer's key, or None for no dropout.
        rate: the probability of a zero; what is left is scaled by 1 / (1 - rate).
        site: the number of this dropout within its layer.
        same: the dimension that shares a draw.
    """
    if key is None or rate == 0.0:
        return x
    shape = list(x.shape)
    shape[same] = 1
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _matmul(x_BTD: Array, w_DF: Array, out: P | None, dtype: DTypeLike) -> Array:
    return jnp.einsum("btd,df->btf", x_BTD, w_DF, out_sharding=out, preferred_element_type=dtype)


def _matmul_forward(x_BTD, w_DF, out, dtype):
    return _matmul(x_BTD, w_DF, out, dtype), (x_BTD, w_DF)


def _matmul_backward(out, dtype, saved, dy_BTF):
    x_BTD, w_DF = saved
    dy_BTF = dy_BTF.astype(x_BTD.dtype)
    dx_BTD = jnp.einsum("btf,df->btd", dy_BTF, w_DF, out_sharding=spec_of(x_BTD))
    # A CPU transposes the left side of this product, and what computes that side writes it
    # transposed, which can cost more than the product. So the narrower side goes left; JAX's own
    # rule has dy there, and the barrier keeps XLA from turning the product round again.
    out_DF = spec_of(w_DF)
    if x_BTD.shape[-1] <= dy_BTF.shape[-1]:
        dw_DF = jnp.einsum("btd,btf->df", x_BTD, dy_BTF, out_sharding=out_DF)
    else:
        out_FD = None if out_DF is None else P(*reversed(out_DF))
        dw_FD = jnp.einsum("btf,btd->fd", dy_BTF, x_BTD, out_sharding=out_FD)
        dw_DF = jax.lax.optimization_barrier(dw_FD).T
    return dx_BTD, dw_DF


_matmul.defvjp(_matmul_forward, _matmul_backward)


def linear(
    x_BTD: Float[Array, "B T D"],
    w_DF: Float[Array, "D F"],
    name: str | None = None,
    *,
    size: int | None = None,
    dtype: DTypeLike | None = None,
) -> Float[Array, "B T F"]:
    """Multiplies by a matrix, in the dtype of x.

    Args:
        x_BTD: activations.
        w_DF: an f32 kernel.
        name: logical name of the result's last dimension, None where it is whole.
        size: in how many parts that dimension may be cut, where it is not F.
        dtype: of the result, where it is not that of x.
    """
    out = spec("batch", None, name, sizes=(None, None, size))
    return _matmul(x_BTD, w_DF.astype(x_BTD.dtype), out, dtype or x_BTD.dtype)


def split_heads(
    x_BTD: Float[Array, "B T D"], kernel: nnx.Param, num_heads: int
) -> Float[Array, "B T H K"]:
    """Projects with a kernel `[D, H*K]` and cuts the result into heads."""
    y = linear(x_BTD, kernel[...], "heads", size=num_heads)
    return y.reshape(*y.shape[:2], num_heads, -1)


def merge_heads(y_BTHK: Float[Array, "B T H K"], kernel: nnx.Param) -> Float[Array, "B T D"]:
    """Projects all heads with a kernel `[H*K, D]`, back to the model's width."""
    return linear(y_BTHK.reshape(*y_BTHK.shape[:2], -1), kernel[...])


def attend(
    q_BTHK: Float[Array, "B T H K"],
    k_BSNK: Float[Array, "B S N K"],
    v_BSNK: Float[Array, "B S N K"],
    mask: Bool[Array, "B 1 #T S"],
    bias: Float[Array, "#B H #T S"] | None = None,  # one row for all, unless T is 1
    *,
    dropout_key: Key[Array, ""] | None = None,
    dropout_rate: float = 0.0,
) -> Float[Array, "B T H K"]:
    """Attention of H heads over N <= H key heads; softmax in f32, no scale: scale the queries.

    Dropout takes whole keys away, the same for all queries, so it acts on the values.
    """
    v_BSNK = dropout(v_BSNK, dropout_key, dropout_rate, site=0, same=-1)
    shape, shared = q_BTHK.shape, k_BSNK.shape[2]
    groups = shape[2] // shared
    if groups == 1:
        return _attend(q_BTHK, k_BSNK, v_BSNK, mask, bias)
    if shape[1] > 1:  # copies of the keys are smaller than what is kept of the queries anyway
        keys, values = (_repeat_heads(x, groups) for x in (k_BSNK, v_BSNK))
        return _attend(q_BTHK, keys, values, mask, bias)
    # One query a row, against a cache: the heads that share a key head act as its queries.
    cut = dict(sizes=(shape[0], None, shared, None))
    q_BGNK = constrain(q_BTHK, "batch", None, "heads", None, **cut)
    q_BGNK = q_BGNK[:, 0].reshape(shape[0], shared, groups, -1).swapaxes(1, 2)
    if bias is not None:
        cut = dict(sizes=(bias.shape[0], shared, None, None))
        bias = constrain(bias, "batch", "heads", None, None, **cut)
        bias = bias[:, :, 0].reshape(bias.shape[0], shared, groups, -1)
    y_BGNK = _attend(q_BGNK, k_BSNK, v_BSNK, mask, bias)
    return y_BGNK.swapaxes(1, 2).reshape(shape[0], *shape[2:])[:, None]


def _repeat_heads(x_BSNK: Array, groups: int) -> Array:
    batch, length, shared, width = x_BSNK.shape
    x = jnp.broadcast_to(x_BSNK[:, :, :, None], (batch, length, shared, groups, width))
    return constrain(x.reshape(batch, length, -1, width), "batch", None, "heads", None)


def _scores(q_BTHK, k_BSHK, mask, bias):
    scores = jnp.einsum("bthk,bshk->bhts", q_BTHK, k_BSHK, preferred_element_type=jnp.float32)
    return jnp.where(mask, scores if bias is None else scores + bias, MASKED)


@jax.custom_vjp
def _attend(q_BTHK, k_BSHK, v_BSHK, mask, bias):
    return _attend_forward(q_BTHK, k_BSHK, v_BSHK, mask, bias)[0]


def _attend_forward(q_BTHK, k_BSHK, v_BSHK, mask, bias):
    scores = _scores(q_BTHK, k_BSHK, mask, bias)
    top = scores.max(-1, keepdims=True)
    weights = jnp.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    y_BTHK = jnp.einsum("bhts,bshk->bthk", (weights / total).astype(v_BSHK.dtype), v_BSHK)
    return y_BTHK, (q_BTHK, k_BSHK, v_BSHK, mask, bias, y_BTHK, top, total)


def _attend_backward(saved, dy_BTHK):
    """Computes the weights again from their maxima and sums, so that no [T, S] is kept.

    As Dao et al. (2022, appendix B.2): the sum within the softmax's derivative is that of y * dy.
    """
    q_BTHK, k_BSHK, v_BSHK, mask, bias, y_BTHK, top, total = saved
    dtype, f32 = q_BTHK.dtype, dict(preferred_element_type=jnp.float32)
    weights = jnp.exp(_scores(q_BTHK, k_BSHK, mask, bias) - top) / total
    dv_BSHK = jnp.einsum("bhts,bthk->bshk", weights.astype(dtype), dy_BTHK)
    dweights = jnp.einsum("bthk,bshk->bhts", dy_BTHK, v_BSHK, **f32)
    inner = jnp.einsum("bthk,bthk->bht", dy_BTHK, y_BTHK, **f32)[..., None]
    dscores = weights * (dweights - inner)
    dq_BTHK = jnp.einsum("bhts,bshk->bthk", dscores.astype(dtype), k_BSHK)
    dk_BSHK = jnp.einsum("bhts,bthk->bshk", dscores.astype(dtype), q_BTHK)
    dbias = None
    if bias is not None:
        # A product with ones: on a CPU, a sum over the first dimension takes five times as long.
        ones_B = constrain(jnp.ones(dscores.shape[0]), "batch")
        out = spec(None, "heads", None, None, sizes=bias.shape)
        dbias = jnp.einsum("xb,bhts->xhts", ones_B[None], dscores, out_sharding=out)
    return dq_BTHK, dk_BSHK, dv_BSHK, None, dbias


_attend.defvjp(_attend_forward, _attend_backward)


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

        @functools.partial(jax.checkpoint, prevent_cse=False)  # keeps its arguments only
        def inner(branches, wo):
            h_BTF = activation(branches[0])
            h_BTF = h_BTF * branches[1] if len(branches) > 1 else h_BTF
            return linear(dropout(h_BTF, key, rate, site=1), wo)

        kernels = [kernel[...] for kernel in (self.wi_0, self.wi_1) if kernel is not None]
        return inner([linear(x_BTD, kernel, "mlp") for kernel in kernels], self.wo[...])


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
