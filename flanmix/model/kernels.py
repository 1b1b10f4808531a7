"""The two products that a backend may have its own form of; here in their plain form.

Plain means: as the mathematics has it, for XLA to compile and JAX to differentiate, forward and
reverse, on any backend. Another backend's forms stand in a file of its own, `<backend>_kernels.py`,
with functions of the same signatures and the same results, and `flanmix.model.api.KERNELS` has the
table of them.

    PLAIN.matmul(x_BTD, w_DF, out_sharding, dtype)          -> [B, T, F]
    PLAIN.attention(q_BTHK, k_BSHK, v_BSHK, mask, bias)     -> [B, T, H, K]
    PLAIN.attention(q_BTHK, k_BSHK, v_BSHK, mask, bias, 50.0)   # scores capped at 50

A query that sees nothing (a row of the mask that is all False) gets zeros, and no gradient passes
through it.
"""

# B batch, T queries, S keys, D model width, F width of the result, H heads, K width of a head.

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from flanmix.model.sharding import P

# Finite, so that a row with nothing to see gives no NaN; beside any other score its weight is
# exactly 0.
MASKED = -1e9


class Matmul(Protocol):
    """Multiplies activations by a kernel of their dtype."""

    def __call__(
        self, x_BTD: Array, w_DF: Array, out_sharding: P | None, dtype: DTypeLike
    ) -> Array:
        """Returns [B, T, F], accumulated and returned in `dtype`."""
        ...


class Attention(Protocol):
    """Attends with as many heads of keys as of queries; softmax in f32, scores not scaled.

    Where `cap` is given the scores are cap * tanh(scores / cap), which are below it.
    """

    def __call__(
        self,
        q_BTHK: Array,
        k_BSHK: Array,
        v_BSHK: Array,
        mask: Array,
        bias: Array | None,
        cap: float | None = None,
    ) -> Array:
        """Returns [B, T, H, K]; `mask` [B, 1, T or 1, S], `bias` f32 [B or 1, H, T or 1, S]."""
        ...


class Kernels(NamedTuple):
    """One form of both products."""

    matmul: Matmul
    attention: Attention


def matmul(
    x_BTD: Float[Array, "B T D"],
    w_DF: Float[Array, "D F"],
    out_sharding: P | None,
    dtype: DTypeLike,
) -> Float[Array, "B T F"]:
    """Returns x @ w; see `Matmul`."""
    return jnp.einsum(
        "btd,df->btf", x_BTD, w_DF, out_sharding=out_sharding, preferred_element_type=dtype
    )


def attention(
    q_BTHK: Float[Array, "B T H K"],
    k_BSHK: Float[Array, "B S H K"],
    v_BSHK: Float[Array, "B S H K"],
    mask: Bool[Array, "B 1 #T S"],
    bias: Float[Array, "#B H #T S"] | None,
    cap: float | None = None,
) -> Float[Array, "B T H K"]:
    """Returns softmax(q k + bias) v; see `Attention`."""
    scores_BHTS = masked_scores(q_BTHK, k_BSHK, mask, bias, cap)
    weights_BHTS, total_BHT1, _ = softmax_parts(scores_BHTS, mask)
    probabilities_BHTS = (weights_BHTS / total_BHT1).astype(v_BSHK.dtype)
    return jnp.einsum("bhts,bshk->bthk", probabilities_BHTS, v_BSHK)


def masked_scores(
    q_BTHK: Float[Array, "B T H K"],
    k_BSHK: Float[Array, "B S H K"],
    mask: Bool[Array, "B 1 #T S"],
    bias: Float[Array, "#B H #T S"] | None,
    cap: float | None,
) -> Float[Array, "B H T S"]:
    """Returns q k + bias in f32, capped, and `MASKED` where nothing is seen."""
    scores = jnp.einsum("bthk,bshk->bhts", q_BTHK, k_BSHK, preferred_element_type=jnp.float32)
    scores = scores if bias is None else scores + bias
    return jnp.where(mask, scores if cap is None else capped(scores, cap), MASKED)


def capped(scores: Float[Array, "*n"], cap: float) -> Float[Array, "*n"]:
    """Returns cap * tanh(scores / cap)."""
    return jnp.tanh(scores / cap) * cap


def softmax_parts(
    scores_BHTS: Float[Array, "B H T S"],
    mask: Bool[Array, "B 1 #T S"],
    top_BHT1: Float[Array, "B H T 1"] | None = None,
) -> tuple[Float[Array, "B H T S"], Float[Array, "B H T 1"], Float[Array, "B H T 1"]]:
    """Returns exp(scores - top) of what is seen, the sum that divides it, and top, in f32.

    `top`, the best score of each query, is computed if it is not given.
    """
    if top_BHT1 is None:
        top_BHT1 = jax.lax.stop_gradient(scores_BHTS).max(-1, keepdims=True)
    weights = jnp.where(mask, jnp.exp(scores_BHTS - top_BHT1), 0)
    # The best key's weight is 1, so the sum is less only where no key is seen.
    return weights, jnp.maximum(weights.sum(-1, keepdims=True), 0.5), top_BHT1


PLAIN = Kernels(matmul, attention)
