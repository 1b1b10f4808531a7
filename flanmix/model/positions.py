"""Where tokens are, by distance: T5's table of biases.

bias = RelativeBias(rng, 32, num_heads=6, std=0.04, max_distance=128, bidirectional=True, ...)
bias(length)                        -> f32 [1, H, T, T], to be added to the scores
"""

# B batch, T queries, S keys, H heads, E position buckets.

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from flanmix.model.api import Compute
from flanmix.model.params import normal, parameter
from flanmix.model.sharding import constrain, spec


class RelativeBias(nnx.Module):
    """A table [E, H] for all layers of a stack, or one for each of them, [L, E, H]."""

    def __init__(
        self,
        rng: Key[Array, ""],
        num_buckets: int,
        num_heads: int,
        *,
        std: float,
        max_distance: int,
        bidirectional: bool,
        compute: Compute,
        num_layers: int | None = None,
    ) -> None:
        layers = () if num_layers is None else (num_layers,)
        shape = (*layers, num_buckets, num_heads)
        table = normal(rng, shape, std, *(None,) * len(shape), dtype=compute.parameters)
        self.table = parameter(table, stacked=num_layers is not None, decays=False)
        self.max_distance = max_distance
        self.bidirectional = bidirectional

    def __call__(self, length: int) -> Float[Array, "1 H T T"]:
        """Returns the bias between all positions of a row.

        It depends on the distance alone, so 2T-1 values are looked up and laid out along the
        diagonals: a lookup for each pair would need a scatter of T^2 values in the backward.
        """
        values_HX = self._f32().T[:, self._bucket(jnp.arange(-length, length))]
        heads, width = values_HX.shape
        # Row t must begin at distance -t: repeats of 2T values in rows of 2T-1 shift by one.
        flat = jnp.broadcast_to(values_HX[:, None], (heads, length, width)).reshape(heads, -1)
        skewed = flat[:, length : length + length * (width - 1)].reshape(heads, length, width - 1)
        return constrain(skewed[None, :, :, :length], None, "heads", None, None)

    def of_distance(self, distance_BS: Int[Array, "B S"]) -> Float[Array, "B H 1 S"]:
        """Returns the bias of one query a row; the distance is key position - query position."""
        bucket_BS = self._bucket(distance_BS)
        bias_BSH = self._f32().at[bucket_BS].get(out_sharding=spec("batch", None, None))
        return constrain(jnp.moveaxis(bias_BSH, -1, 1)[:, :, None], "batch", "heads", None, None)

    def _f32(self) -> Float[Array, "E H"]:
        return self.table[...].astype(jnp.float32)

    def _bucket(self, distance: Int[Array, "*n"]) -> Int[Array, "*n"]:
        num_buckets = self.table.shape[0]
        return relative_bucket(distance, num_buckets, self.max_distance, self.bidirectional)


def check_buckets(config: Any) -> None:
    """Checks `num_buckets` and `max_distance` of a model's configuration.

    Raises:
        ValueError: names the field and the value.
    """
    kind, buckets, distance = type(config).__name__, config.num_buckets, config.max_distance
    if buckets < 4 or buckets % 4:
        raise ValueError(f"{kind}.num_buckets is {buckets}: must be a multiple of 4")
    if distance <= buckets // 2:  # the distances that have a bucket each end there
        raise ValueError(
            f"{kind}.max_distance is {distance}: must be more than half of num_buckets, {buckets}"
        )


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
