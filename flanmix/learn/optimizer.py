"""Adafactor as T5X configures it, and AdamW: optax's parts, told which leaves are stacked layers.

A scanned model keeps the layers of a stack in one array `[L, ...]`. Adafactor's decisions are per
matrix: whether the second moment is factored, the RMS to which an update is clipped, the scale of
the parameter. So every leaf below one of the model's `stacks` is treated as L matrices (by `vmap`),
and a model of scanned layers takes the same steps as one of separate layers.

    optimizer = Adafactor().build(stacks=("encoder", "decoder"))
    state = optimizer.init(params)
    updates, state = optimizer.update(gradients, state, params)
    params = apply_updates(params, updates, learning_rate)   # params - learning_rate * updates
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import optax
from jaxtyping import Array, Float

PyTree = Any

REST = "rest"  # the group of what is not stacked


@dataclass(frozen=True)
class Adafactor:
    """Adafactor with T5X's settings: no momentum, steps relative to the parameter's scale.

    Source: Shazeer and Stern (2018), algorithms 4 and 5.
    """

    decay_rate: float = 0.8  # beta2 of step t, counted from 1, is 1 - t ** -decay_rate
    clip_update: float = 1.0  # RMS to which the update of a matrix is clipped, before the rate
    min_dim_size_to_factor: int = 128
    scale_by_parameter: bool = True  # times the matrix's RMS, at least 1e-3
    clip_norm: float | None = None  # global norm to which the gradient is clipped first

    def build(self, stacks: Sequence[str] = ()) -> optax.GradientTransformation:
        """Returns the transformation; leaves below the names in `stacks` are stacked layers."""
        parts = [
            optax.scale_by_factored_rms(
                decay_rate=self.decay_rate, min_dim_size_to_factor=self.min_dim_size_to_factor
            ),
            optax.clip_by_block_rms(self.clip_update),
        ]
        if self.scale_by_parameter:
            parts.append(optax.scale_by_param_block_rms(1e-3))
        return _clipped(self.clip_norm, per_layer(optax.chain(*parts), stacks))


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov and Hutter, 2019); decay spares vectors: norms' scales and biases."""

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0

    def build(self, stacks: Sequence[str] = ()) -> optax.GradientTransformation:
        """Returns the transformation; leaves below the names in `stacks` are stacked layers."""

        def is_matrix(params: PyTree) -> PyTree:
            return jax.tree.map_with_path(
                lambda path, p: p.ndim - (_stack_of(path, stacks) is not None) >= 2, params
            )

        adam = optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)
        decay = optax.add_decayed_weights(self.weight_decay, mask=is_matrix)
        return _clipped(self.clip_norm, optax.chain(adam, decay))


def apply_updates(params: PyTree, updates: PyTree, rate: Float[Array, ""] | float) -> PyTree:
    """Returns `params - rate * updates`."""
    return jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), params, updates)


def per_layer(
    inner: optax.GradientTransformation, stacks: Sequence[str]
) -> optax.GradientTransformation:
    """Returns `inner` applied to each layer of the stacked leaves by itself.

    Its state is a dict: one state of `inner` for each stack, with the layers in front of every
    leaf, and one under "rest".
    """

    def init(params: PyTree) -> dict[str, PyTree]:
        groups = _grouped(params, stacks)
        return {
            stack: inner.init(group) if stack == REST else jax.vmap(inner.init)(group)
            for stack, group in groups.items()
        }

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        groups = _grouped(updates, stacks), _grouped(params, stacks)
        new_updates, new_state = {}, {}
        for stack in state:
            step = inner.update if stack == REST else jax.vmap(inner.update)
            new_updates[stack], new_state[stack] = step(
                groups[0][stack], state[stack], groups[1][stack]
            )
        leaves = {path: leaf for group in new_updates.values() for path, leaf in group.items()}
        return jax.tree.map_with_path(lambda path, _: leaves[_name(path)], updates), new_state

    return optax.GradientTransformation(init, update)  # pyrefly: ignore[bad-argument-type]


def settle_shardings(
    optimizer: optax.GradientTransformation, state: PyTree, params: PyTree
) -> PyTree:
    """Returns a new state placed as `update` will leave it, so that the step's types never change.

    A moment starts as zeros that know nothing of the mesh, and comes out of the first update cut
    like the gradients that it averages.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return state
    _, after = jax.eval_shape(optimizer.update, params, state, params)
    return jax.tree.map(lambda x, like: jax.reshard(x, like.sharding.spec), state, after)


def _clipped(
    norm: float | None, optimizer: optax.GradientTransformation
) -> optax.GradientTransformation:
    return optimizer if norm is None else optax.chain(optax.clip_by_global_norm(norm), optimizer)


def _grouped(tree: PyTree, stacks: Sequence[str]) -> dict[str, dict[str, Array]]:
    groups: dict[str, dict[str, Array]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        stack = _stack_of(path, stacks) or REST
        groups.setdefault(stack, {})[_name(path)] = leaf
    return groups


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _stack_of(path: tuple, stacks: Sequence[str]) -> str | None:
    first = jax.tree_util.keystr(path[:1], simple=True)
    return first if first in stacks else None
