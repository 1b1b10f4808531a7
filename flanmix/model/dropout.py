"""Dropout as T5 has it, and the numbers of the dropouts that share a layer's rng.

    dropout(x, rng, 0.1, Site.MLP)      # one draw for all positions of an example
    dropout(x, None, 0.1, Site.MLP)     -> x

Nothing here holds randomness: a dropout folds its site's number into the rng that it is given.
"""

import enum

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from flanmix.model.sharding import constrain


class Site(enum.IntEnum):
    """The dropouts that draw from one rng; the numbers decide what a seed draws, so they stay."""

    ALONE = 0  # the only one with its rng: after the embedding, after the last norm
    VALUES = 0  # within an attention, on the values
    HIDDEN = 1  # within an MLP, on its inner activations
    ATTENTION = 2  # after the self-attention
    MLP = 3  # after the MLP
    CROSS = 4  # the rng of the cross-attention, whose values are its site VALUES
    CROSS_ATTENTION = 5  # after the cross-attention


def fold(rng: Key[Array, ""] | None, number: int) -> Key[Array, ""] | None:
    """Returns the rng of one of those that share `rng`; None without dropout."""
    return None if rng is None else jax.random.fold_in(rng, number)


def dropout(
    x: Float[Array, "B ..."],
    rng: Key[Array, ""] | None,
    rate: float,
    site: Site,
    *,
    same: int = -2,
) -> Float[Array, "B ..."]:
    """Zeroes features at `rate`, with one draw for all positions of an example, as T5 does.

    Args:
        x: [B, ..., T, D].
        rng: a layer's, or None for no dropout.
        rate: the probability of a zero; what is left is scaled by 1 / (1 - rate).
        site: which of the dropouts that share the rng this is.
        same: the dimension that shares a draw.
    """
    if rng is None or rate == 0.0:
        return x
    shape = list(x.shape)
    shape[same] = 1
    kept = jax.random.bernoulli(jax.random.fold_in(rng, int(site)), 1.0 - rate, shape)
    scale = jnp.where(kept, 1.0 / (1.0 - rate), 0.0).astype(x.dtype)
    return x * constrain(scale, "batch", *(None,) * (x.ndim - 1))
