"""Root mean square normalisation, in f32, without mean or bias (Zhang and Sennrich, 2019).

norm = RMSNorm(512, 1e-6, compute=compute, num_layers=8)      # norm.scale: ones [8, 512]
norm(x_BTD)         # within `scan_layers`: x / sqrt(mean(x^2) + 1e-6) * scale

Gemma keeps what is added to a scale of one, and multiplies before it rounds (`plus_one`).
"""

# B batch, T positions, D width of what is normalised; whatever stands between are heads.

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flanmix.model.api import Compute
from flanmix.model.params import ones, parameter
from flanmix.model.sharding import constrain


class RMSNorm(nnx.Module):
    """A scale [L, D], stacked over layers, or [D]."""

    def __init__(
        self,
        width: int,
        epsilon: float,
        *,
        compute: Compute,
        num_layers: int | None = None,
        plus_one: bool = False,
    ) -> None:
        shape = (width,) if num_layers is None else (num_layers, width)
        scale = ones(shape, compute.parameters)
        if plus_one:
            scale = constrain(jnp.zeros_like(scale), *(None,) * len(shape))
        self.scale = parameter(scale, stacked=num_layers is not None, decays=False)
        self.epsilon = epsilon
        self.plus_one = plus_one

    def __call__(self, x_BTD: Float[Array, "B T *H D"]) -> Float[Array, "B T *H D"]:
        """Normalises each position, or each of its heads; the backward keeps x alone."""
        return _rms_norm(x_BTD, self.scale[...], self.epsilon, self.plus_one)


@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(2, 3))
def _rms_norm(x_BTD: Array, scale_D: Array, epsilon: float, plus_one: bool) -> Array:
    x = x_BTD.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon)
    scale = scale_D[(None,) * (x.ndim - 1)]
    if plus_one:
        return (x * (1 + scale.astype(jnp.float32))).astype(x_BTD.dtype)
    return x.astype(x_BTD.dtype) * scale.astype(x_BTD.dtype)
