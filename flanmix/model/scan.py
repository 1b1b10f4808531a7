"""The loop over stacked layers, and what its backward may keep instead of computing it again.

    y, extras = scan_layers(lambda layer, x, rng: (layer(x), None), x, layers, num_layers=24)

Modules are pytrees: the loop slices a stacked module's parameters and hands the body one layer at a
time. So one layer is compiled, whatever the depth. While decoding, the loop carries a cache:

    x, cache = scan_cached(lambda layer, x, cache, number: ..., x, layers, None, cache, 24)
"""

# B batch, T positions, D model width; leaves of what is stacked lead with L layers.

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

# The name under which `flanmix.model.linear` tells `REMAT` of its results.
PRODUCT = "product"

# So many layers are decoded without a loop, each with arrays of its own.
FEW = 4

# name -> what the backward of a layer may keep: all, the results of products with kernels, nothing
# but the layer's input.
REMAT: dict[str, Callable[..., Any] | None] = {
    "none": jax.checkpoint_policies.everything_saveable,
    "dots": jax.checkpoint_policies.save_only_these_names(PRODUCT),
    "full": None,
}


def scan_layers(
    body: Callable[..., tuple[Array, Any]],
    x_BTD: Float[Array, "B T D"],
    stacked: Any,
    num_layers: int,
    *,
    dropout_rng: Key[Array, ""] | None = None,
    remat: str = "none",
) -> tuple[Float[Array, "B T D"], Any]:
    """Runs a body over layers.

    Args:
        body: `body(layer, x, rng) -> (x, extra)`; `rng` is `dropout_rng` with the layer's number
            folded in, or None.
        x_BTD: the input of the first layer.
        stacked: any pytree whose leaves lead with L: a module, or a module and its cache.
        num_layers: L.
        dropout_rng: randomness of all layers' dropouts, or None for none.
        remat: what the backward may keep, a name of `REMAT`.

    Returns:
        The output of the last layer, and the extras, stacked.
    """

    def step(x_BTD: Array, numbered: tuple[Array, Any]) -> tuple[Array, Any]:
        number, layer = numbered
        rng = None if dropout_rng is None else jax.random.fold_in(dropout_rng, number)
        return body(layer, x_BTD, rng)

    if remat != "none":
        step = jax.checkpoint(step, policy=REMAT[remat], prevent_cse=False)
    return jax.lax.scan(step, x_BTD, (jnp.arange(num_layers), stacked))


def apart(stacked: Any, num_layers: int) -> tuple[Any, ...] | None:
    """Returns the layers of a stack one by one if they are few, else None.

    A loop over tokens would cut every layer out of the stack at every step; done once before it,
    this costs the memory of the layers once more.
    """
    if num_layers > FEW:
        return None
    layers = tuple(jax.tree.map(lambda x, n=n: x[n], stacked) for n in range(num_layers))
    return jax.lax.optimization_barrier(layers)  # or XLA would do it at every step again


def scan_cached(
    body: Callable[..., tuple[Array, Any]],
    x_BTD: Float[Array, "B T D"],
    stacked: Any,
    layers: tuple[Any, ...] | None,
    cache: Any,
    num_layers: int,
) -> tuple[Float[Array, "B T D"], Any]:
    """Runs a body over layers that read and write a cache, which stays where it stands.

    Args:
        body: `body(layer, x, cache, number) -> (x, cache)`; the number is the layer's.
        x_BTD: the input of the first layer.
        stacked: any pytree whose leaves lead with L.
        layers: what `apart` returned of it; if they are few, there is no loop.
        cache: what all layers share, such as `flanmix.model.cache.Slots`.
        num_layers: L.

    Returns:
        The output of the last layer, and the cache.
    """
    if layers is not None:
        for number, layer in enumerate(layers):
            x_BTD, cache = body(layer, x_BTD, cache, number)
        return x_BTD, cache

    def step(carry: tuple[Array, Any], numbered: tuple[Array, Any]) -> tuple[tuple, None]:
        number, layer = numbered
        return body(layer, *carry, number), None

    carry, _ = jax.lax.scan(step, (x_BTD, cache), (jnp.arange(num_layers), stacked))
    return carry
