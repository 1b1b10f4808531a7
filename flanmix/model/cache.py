"""The keys and values that decoding keeps: a slot for each token, filled in place, layer by layer.

    slots = Slots.of(key_LBTNK, value_LBTNK, 64)      # the prompts' T slots filled, 64 empty ones
    slots = slots.filled(layer, slot, k_B1NK, v_B1NK) # within a loop over layers
    keys_BMNK, values_BMNK = slots.of_layer(layer)    # what the layer's queries attend to
    slots.take(rows_B)                                # rows in another order, as beams need

A loop over layers carries the slots, so that it writes one token and reads one layer where they
stand; handed through the loop as its input and output, all of the cache would be copied at every
step. Keys lie with their slots last and values with their widths last, which is how the products
with one query a row read them, so that nothing is transposed.
"""

# L layers, B batch, T positions of the prompts, N heads of keys and values, K width of a head, M
# slots.

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from flanmix.model.sharding import constrain, spec_of


class Slots(NamedTuple):
    """Keys and values of all layers, a slot for each token."""

    key: Float[Array, "L B N K M"]
    value: Float[Array, "L B N M K"]

    @classmethod
    def empty(
        cls, layers: int, rows: int, slots: int, heads: int, width: int, dtype: DTypeLike
    ) -> "Slots":
        """Returns slots that hold no token."""
        names = (None, "batch", "heads", None, None)
        shape = (layers, rows, heads)
        return cls(
            constrain(jnp.zeros((*shape, width, slots), dtype), *names),
            constrain(jnp.zeros((*shape, slots, width), dtype), *names),
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
        return cls(
            jnp.pad(jnp.transpose(key_LBTNK, (0, 1, 3, 4, 2)), (none, none, none, none, extra)),
            jnp.pad(jnp.transpose(value_LBTNK, (0, 1, 3, 2, 4)), (none, none, none, extra, none)),
        )

    def filled(
        self,
        layer: Int[Array, ""],
        slot: Int[Array, ""],
        k_B1NK: Float[Array, "B 1 N K"],
        v_B1NK: Float[Array, "B 1 N K"],
    ) -> "Slots":
        """Returns the slots with one of one layer filled."""
        new = (
            jnp.transpose(k_B1NK, (0, 2, 3, 1))[None].astype(self.key.dtype),
            jnp.transpose(v_B1NK, (0, 2, 1, 3))[None].astype(self.value.dtype),
        )
        at = ((layer, 0, 0, 0, slot), (layer, 0, 0, slot, 0))
        return Slots(*map(jax.lax.dynamic_update_slice, self, new, at))

    def of_layer(
        self, layer: Int[Array, ""]
    ) -> tuple[Float[Array, "B M N K"], Float[Array, "B M N K"]]:
        """Returns the keys and the values of one layer."""
        key, value = (jax.lax.dynamic_index_in_dim(x, layer, 0, keepdims=False) for x in self)
        return jnp.transpose(key, (0, 3, 1, 2)), jnp.transpose(value, (0, 2, 1, 3))

    def take(self, rows_B: Int[Array, " B"]) -> "Slots":
        """Returns the slots of other rows."""
        return Slots(*(x.at[:, rows_B].get(out_sharding=spec_of(x)) for x in self))
