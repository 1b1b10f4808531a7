"""For CPUs alone: the products of `flanmix.model.kernels` with backwards that a CPU does faster.

    CPU.matmul(...), CPU.attention(...)     # values and gradients of PLAIN's, to rounding

The values are computed as the plain forms compute them. Their backwards are written out
(`jax.custom_vjp`): the product's so that XLA's CPU backend transposes the narrower side, and the
attention's so that no [T, S] is kept. They can't be differentiated forward (`jax.jvp`).
"""

# B batch, T queries, S keys, D model width, F width of the result, H heads, K width of a head.

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from flanmix.model import kernels
from flanmix.model.kernels import Kernels, masked_scores, softmax_parts
from flanmix.model.sharding import P, constrain, spec, spec_of


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def matmul(
    x_BTD: Float[Array, "B T D"],
    w_DF: Float[Array, "D F"],
    out_sharding: P | None,
    dtype: DTypeLike,
) -> Float[Array, "B T F"]:
    """Returns x @ w; see `kernels.Matmul`."""
    return kernels.matmul(x_BTD, w_DF, out_sharding, dtype)


def _matmul_forward(
    x_BTD: Array, w_DF: Array, out_sharding: P | None, dtype: DTypeLike
) -> tuple[Array, tuple[Array, Array]]:
    return kernels.matmul(x_BTD, w_DF, out_sharding, dtype), (x_BTD, w_DF)


def _matmul_backward(
    out_sharding: P | None, dtype: DTypeLike, saved: tuple[Array, Array], dy_BTF: Array
) -> tuple[Array, Array]:
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


matmul.defvjp(_matmul_forward, _matmul_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def attention(
    q_BTHK: Float[Array, "B T H K"],
    k_BSHK: Float[Array, "B S H K"],
    v_BSHK: Float[Array, "B S H K"],
    mask: Bool[Array, "B 1 #T S"],
    bias: Float[Array, "#B H #T S"] | None,
    cap: float | None = None,
) -> Float[Array, "B T H K"]:
    """Returns softmax(q k + bias) v; see `kernels.Attention`."""
    return kernels.attention(q_BTHK, k_BSHK, v_BSHK, mask, bias, cap)


def _attention_forward(
    q_BTHK: Array,
    k_BSHK: Array,
    v_BSHK: Array,
    mask: Array,
    bias: Array | None,
    cap: float | None,
) -> tuple[Array, tuple[Any, ...]]:
    scores = masked_scores(q_BTHK, k_BSHK, mask, bias, cap)
    weights, total, top = softmax_parts(scores, mask)
    y_BTHK = jnp.einsum("bhts,bshk->bthk", (weights / total).astype(v_BSHK.dtype), v_BSHK)
    return y_BTHK, (q_BTHK, k_BSHK, v_BSHK, mask, bias, y_BTHK, top, total)


def _attention_backward(
    cap: float | None, saved: tuple[Any, ...], dy_BTHK: Array
) -> tuple[Array | None, ...]:
    """Computes the weights again from their maxima and sums, so that no [T, S] is kept.

    As Dao et al. (2022, appendix B.2): the sum within the softmax's derivative is that of y * dy.
    """
    q_BTHK, k_BSHK, v_BSHK, mask, bias, y_BTHK, top, total = saved
    dtype, f32 = q_BTHK.dtype, dict(preferred_element_type=jnp.float32)
    scores = masked_scores(q_BTHK, k_BSHK, mask, bias, cap)
    weights = softmax_parts(scores, mask, top)[0] / total
    dv_BSHK = jnp.einsum("bhts,bthk->bshk", weights.astype(dtype), dy_BTHK)
    dweights = jnp.einsum("bthk,bshk->bhts", dy_BTHK, v_BSHK, **f32)
    inner = jnp.einsum("bthk,bthk->bht", dy_BTHK, y_BTHK, **f32)[..., None]
    dscores = weights * (dweights - inner)
    if cap is not None:  # the derivative of tanh; what is masked has weight 0
        dscores = dscores * (1 - jnp.square(scores / cap))
    dq_BTHK = jnp.einsum("bhts,bshk->bthk", dscores.astype(dtype), k_BSHK)
    dk_BSHK = jnp.einsum("bhts,bthk->bshk", dscores.astype(dtype), q_BTHK)
    dbias = None
    if bias is not None:
        # A product with ones: on a CPU, a sum over the first dimension takes five times as long.
        ones_B = constrain(jnp.ones(dscores.shape[0]), "batch")
        out = spec(None, "heads", None, None, sizes=bias.shape)
        dbias = jnp.einsum("xb,bhts->xhts", ones_B[None], dscores, out_sharding=out)
    return dq_BTHK, dk_BSHK, dv_BSHK, None, dbias


attention.defvjp(_attention_forward, _attention_backward)

CPU = Kernels(matmul, attention)
