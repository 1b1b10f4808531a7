"""Root mean square normalisation, in f32, without mean or bias (Zhang and Sennrich, 2019).

norm = RMSNorm(512, 1e-6, compute=compute, num_layers=8)      # norm.scale: ones [8, 512]
norm(x_BTD)         # within `scan_layers`: x / sqrt(mean(x^2) + 1e-6) * scale
"""

# B batch, T positions, D model width.

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flanmix.model.api import Compute
from flanmix.model.params import ones, parameter


class RMSNorm(nnx.Module):
    """A scale [L, D], stacked over layers, or [D]."""

    def __init__(
        self, width: int, epsilon: float, *, compute: Compute, num_layers: int | None = None
    ) -> None:
        shape = (width,) if num_layers is None else (num_layers, width)
        scale = ones(shape, compute.parameters)
        self.scale = parameter(scale, stacked=num_layers is not None, decays=False)
        self.epsilon = epsilon

    def __call__(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Normalises each position; the backward keeps x alone."""
        return _rms_norm(x_BTD, self.scale[...], self.epsilon)


@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=2)
def _rms_norm(x_BTD: Array, scale_D: Array, epsilon: float) -> Array:
    x = x_BTD.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon)
    return x.astype(x_BTD.dtype) * scale_D[None, None, :].astype(x_BTD.dtype)
