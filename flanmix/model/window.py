"""Layers that see only the last tokens, among layers that see all.

    local = local_layers("lllllg", 26)       # [True, True, True, True, True, False, True, ...]
    mask = chosen(local_of_this_layer, near(length, window) & mask, mask)

A window of 4 lets a token see itself and the three before it. Where all layers are of one kind, the
kind is True or False; otherwise it is scanned along with the layers, and each layer chooses.
"""

# B batch, T queries, S keys.

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

LOCAL, GLOBAL = "l", "g"
# Whether a layer is local: known, or an element of the kinds that are scanned.
Kind = bool | Array
Value = TypeVar("Value")


def local_layers(pattern: str, num_layers: int) -> np.ndarray:
    """Returns for each layer whether it is local: the pattern, repeated."""
    return np.array([pattern[layer % len(pattern)] == LOCAL for layer in range(num_layers)])


def pattern_of(kinds: np.ndarray) -> str:
    """Returns the shortest pattern of layers that are local or not."""
    letters = "".join(LOCAL if kind else GLOBAL for kind in kinds)
    for size in range(1, len(letters)):
        if (letters[:size] * len(letters))[: len(letters)] == letters:
            return letters[:size]
    return letters


def check_window(config: Any) -> None:
    """Checks `window`, `window_pattern` and `local_rope_theta` of a model's configuration.

    Raises:
        ValueError: names the field and the value.
    """
    kind, pattern = type(config).__name__, config.window_pattern
    if not pattern or set(pattern) - {LOCAL, GLOBAL}:
        raise ValueError(
            f"{kind}.window_pattern is {pattern!r}: must be letters '{LOCAL}' (a layer with the "
            f"window) and '{GLOBAL}' (one that sees all), such as 'lg'"
        )
    if config.window is None and config.local_rope_theta is not None:
        raise ValueError(
            f"{kind}.local_rope_theta is {config.local_rope_theta}: must be None where window is"
        )


def near(length: int, window: int) -> Bool[Array, "1 1 T T"]:
    """Returns where a key is fewer than `window` tokens before the query, or later."""
    index_T = jnp.arange(length)
    return (index_T[:, None] - index_T[None, :] < window)[None, None]


def chosen(local: Kind, if_local: Value, otherwise: Value) -> Value:
    """Returns what a layer of a kind takes: one of two trees of arrays of the same shapes."""
    if isinstance(local, bool):
        return if_local if local else otherwise
    return jax.tree.map(lambda a, b: jnp.where(local, a, b), if_local, otherwise)
