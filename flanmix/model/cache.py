"""The keys and values that decoding keeps: a slot for each token, filled in place, layer by layer.

    slots = Slots.of(key_LBTNK, value_LBTNK, 64)      # the prompts' T slots filled, 64 empty ones
    slots = slots.filled(layer, slot, k_B1NK, v_B1NK) # within a loop over layers
    keys_BMNK, values_BMNK = slots.of_layer(layer)    # what the layer's queries attend to
    slots.take(rows_B)                                # rows in another order, as beams need

A loop over layers carries the slots, so that it writes one token and reads one layer where they
stand; handed through the loop as its input and output, all of the cache would be copied at every
step. Keys lie with their slots last and values with their widths last, which is how the products
with one query a row read them, so that nothing is transposed. Of few layers (`scan.FEW`) each has
arrays of its own, which need not be cut out of an array of all layers at every step.
"""

# L layers, B batch, T positions of the prompts, N heads of keys and values, K width of a head, M
# slots.

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from flanmix.model.scan import FEW
from flanmix.model.sharding import constrain, spec_of

# Of all layers, [L, ...], or a tuple with one of each.
Stack = Array | tuple[Array, ...]


class Slots(NamedTuple):
    """Keys [L, B, N, K, M] and values [L, B, N, M, K] of all layers, a slot for each token."""

    key: Stack
    value: Stack

    @classmethod
    def empty(
        cls, layers: int, rows: int, slots: int, heads: int, width: int, dtype: DTypeLike
    ) -> "Slots":
        """Returns slots that hold no token."""
        names = (None, "batch", "heads", None, None)
        shape = (layers, rows, heads)
        return cls(
            _stack(constrain(jnp.zeros((*shape, width, slots), dtype), *names)),
            _stack(constrain(jnp.zeros((*shape, slots, width), dtype), *names)),
        )

    @classmethod
    def of(
        cls,
        key_LBTNK: Float[Array, "L B T N K"],
        value_LBTNK: Float[Array, "L B T N K"],
        more: int,
    ) -> "Slots":
        """Returns slots that hold the prompts' tokens, and `more` that hold none."""
        none, extra = (0, 0), (0, more)
        key = jnp.transpose(key_LBTNK, (0, 1, 3, 4, 2))
        value = jnp.transpose(value_LBTNK, (0, 1, 3, 2, 4))
        return cls(
            _stack(jnp.pad(key, (none, none, none, none, extra))),
            _stack(jnp.pad(value, (none, none, none, extra, none))),
        )

    @property
    def number(self) -> int:
        """How many slots there are."""
        return (self.key[0] if isinstance(self.key, tuple) else self.key).shape[-1]

    def filled(
        self,
        layer: Int[Array, ""] | int,
        slot: Int[Array, ""],
        k_B1NK: Float[Array, "B 1 N K"],
        v_B1NK: Float[Array, "B 1 N K"],
    ) -> "Slots":
        """Returns the slots with one of one layer filled."""
        k_BNK1 = jnp.transpose(k_B1NK, (0, 2, 3, 1))
        v_BN1K = jnp.transpose(v_B1NK, (0, 2, 1, 3))
        return Slots(
            _written(self.key, layer, k_BNK1, (0, 0, 0, slot)),
            _written(self.value, layer, v_BN1K, (0, 0, slot, 0)),
        )

    def of_layer(
        self, layer: Int[Array, ""] | int
    ) -> tuple[Float[Array, "B M N K"], Float[Array, "B M N K"]]:
        """Returns the keys and the values of one layer."""
        key, value = (x[layer] if isinstance(x, tuple) else _at(x, layer) for x in self)
        return jnp.transpose(key, (0, 3, 1, 2)), jnp.transpose(value, (0, 2, 1, 3))

    def take(self, rows_B: Int[Array, " B"]) -> "Slots":
        """Returns the slots of other rows."""

        def taken(x: Array) -> Array:
            rows = (slice(None),) * (x.ndim - 4) + (rows_B,)
            return x.at[rows].get(out_sharding=spec_of(x))

        return jax.tree.map(taken, self)


def _stack(x: Array) -> Stack:
    return tuple(x) if x.shape[0] <= FEW else x


def _at(x: Array, layer: Int[Array, ""] | int) -> Array:
    return jax.lax.dynamic_index_in_dim(x, layer, 0, keepdims=False)


def _written(x: Stack, layer: Int[Array, ""] | int, new: Array, at: tuple) -> Stack:
    if not isinstance(x, tuple):
        return jax.lax.dynamic_update_slice(x, new[None].astype(x.dtype), (layer, *at))
    own = jax.lax.dynamic_update_slice(x[layer], new.astype(x[layer].dtype), at)
    return (*x[:layer], own, *x[layer + 1 :])
