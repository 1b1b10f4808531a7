"""Adafactor as T5X configures it, and AdamW: optax's parts, by what parameters declare.

A scanned model keeps the layers of a stack in one array `[L, ...]`. Adafactor's decisions are per
matrix: whether the second moment is factored, the RMS to which an update is clipped, the scale of
the parameter. So every leaf that declares itself stacked is treated as L matrices (by `vmap`), and
a model of scanned layers takes the same steps as one of separate layers. Where a leaf stands in the
tree of parameters says nothing.

    declared = declarations(model)              # flanmix.model.params; or of a part of them
    optimizer = Adafactor().build(declared)
    state = optimizer.init(params)
    updates, state = optimizer.update(gradients, state, params)
    params = apply_updates(params, updates, learning_rate)   # params - learning_rate * updates

Moments and updates are f32, whatever the type of the parameters.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from flanmix.fields import by_macro, check_interval, check_range, check_types

PyTree = Any

REST = "rest"  # the group of what is not stacked


@dataclass(frozen=True)
class Adafactor:
    """Adafactor with T5X's settings: no momentum, steps relative to the parameter's scale.

    Source: Shazeer and Stern (2018), algorithms 4 and 5.

    Attributes:
        decay_rate: beta2 of step t, counted from 1, is 1 - t ** -decay_rate.
        clip_update: RMS to which the update of a matrix is clipped, before the rate.
        min_dim_size_to_factor: matrices with a smaller side keep the whole second moment.
        scale_by_parameter: whether updates are multiplied by the matrix's RMS, at least 1e-3.
        clip_norm: global norm to which the gradient is clipped first; None for no clipping.
    """

    decay_rate: float = 0.8
    clip_update: float = 1.0
    min_dim_size_to_factor: int = 128
    scale_by_parameter: bool = True
    clip_norm: float | None = by_macro("CLIP_NORM", default=None)

    def __post_init__(self) -> None:
        check_types(self)
        check_interval(self, "(0, 1]", "decay_rate")
        check_interval(self, "(0, inf)", "clip_update", "clip_norm")
        check_range(self, 1, "min_dim_size_to_factor")

    def build(self, declared: PyTree) -> optax.GradientTransformation:
        """Returns the transformation.

        Args:
            declared: the `Declaration` of every parameter that is optimized, in their structure.
        """
        parts = [
            optax.scale_by_factored_rms(
                decay_rate=self.decay_rate, min_dim_size_to_factor=self.min_dim_size_to_factor
            ),
            optax.clip_by_block_rms(self.clip_update),
        ]
        if self.scale_by_parameter:
            parts.append(optax.scale_by_param_block_rms(1e-3))
        return _built(self.clip_norm, per_layer(optax.chain(*parts), declared), declared)


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov and Hutter, 2019); decay spares norms' scales, biases and position biases.

    Attributes:
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: times the learning rate, what a parameter that decays loses of itself a step.
        clip_norm: global norm to which the gradient is clipped first; None for no clipping.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = by_macro("WEIGHT_DECAY", default=0.01)
    clip_norm: float | None = by_macro("CLIP_NORM", default=1.0)

    def __post_init__(self) -> None:
        check_types(self)
        check_interval(self, "[0, 1)", "b1", "b2")
        check_interval(self, "(0, inf)", "eps", "clip_norm")
        check_range(self, 0, "weight_decay")

    def build(self, declared: PyTree) -> optax.GradientTransformation:
        """Returns the transformation.

        Args:
            declared: the `Declaration` of every parameter that is optimized, in their structure.
        """
        decays = jax.tree.map(lambda declaration: declaration.decays, declared)
        adam = optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)
        decay = optax.add_decayed_weights(self.weight_decay, mask=decays)
        return _built(self.clip_norm, optax.chain(adam, decay), declared)


def apply_updates(params: PyTree, updates: PyTree, rate: Float[Array, ""] | float) -> PyTree:
    """Returns `params - rate * updates`."""
    return jax.tree.map(lambda p, u: (p - rate * u).astype(p.dtype), params, updates)


def per_layer(inner: optax.GradientTransformation, declared: PyTree) -> Any:
    """Returns `inner` applied to each layer of the stacked leaves by itself.

    Its state is a dict: one state of `inner` for the stacks of each number of layers ("24"), with
    the layers in front of every leaf, and one under "rest".
    """

    def init(params: PyTree) -> dict[str, PyTree]:
        return {
            name: inner.init(group) if name == REST else jax.vmap(inner.init)(group)
            for name, group in _grouped(params, declared).items()
        }

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        groups = _grouped(updates, declared), _grouped(params, declared)
        leaves: dict[str, Any] = {}
        new_state: dict[str, Any] = {}
        for name in state:
            step: Any = inner.update if name == REST else jax.vmap(inner.update)
            new, new_state[name] = step(groups[0][name], state[name], groups[1][name])
            leaves |= new
        return jax.tree.map_with_path(lambda path, _: leaves[_name(path)], updates), new_state

    return optax.GradientTransformation(init, update)  # pyrefly: ignore[bad-argument-type]


def reshard_opt_state(
    optimizer: optax.GradientTransformation, state: PyTree, params: PyTree
) -> PyTree:
    """Returns a new state sharded as `update` will leave it, so that the step's types never change.

    A moment starts as zeros that know nothing of the mesh, and the first update returns it sharded
    as the gradients that it averages.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return state
    _, after = jax.eval_shape(optimizer.update, params, state, params)
    return jax.tree.map(lambda x, like: jax.reshard(x, like.sharding.spec), state, after)


def _built(
    norm: float | None, optimizer: optax.GradientTransformation, declared: PyTree
) -> optax.GradientTransformation:
    """Returns the optimizer in f32, behind the clipping and a look at what it is given."""
    if norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(norm), optimizer)

    def init(params: PyTree) -> PyTree:
        _check_structure(params, declared)
        return optimizer.init(_f32(params))

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        _check_structure(updates, declared)
        return optimizer.update(_f32(updates), state, _f32(params))

    return optax.GradientTransformation(init, update)  # pyrefly: ignore[bad-argument-type]


def _f32(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def _check_structure(params: PyTree, declared: PyTree) -> None:
    """Checks that there is a declaration for each parameter, and no other.

    Raises:
        ValueError: names one of those that are on one side only.
    """
    if jax.tree.structure(params) == jax.tree.structure(declared):
        return
    there, here = ({_name(p) for p, _ in _leaves(tree)} for tree in (params, declared))
    only = [f"{name} declares nothing" for name in sorted(there - here)]
    only += [f"{name} is declared and is none of them" for name in sorted(here - there)]
    raise ValueError(
        "an optimizer was built for other parameters than it is given: "
        f"{', '.join(only[:3]) or 'their containers differ'}"
    )


def _grouped(tree: PyTree, declared: PyTree) -> dict[str, dict[str, Array]]:
    groups: dict[str, dict[str, Array]] = {}
    for (path, leaf), declaration in zip(_leaves(tree), jax.tree.leaves(declared), strict=True):
        group = str(leaf.shape[0]) if declaration.stacked else REST
        groups.setdefault(group, {})[_name(path)] = leaf
    return groups


def _leaves(tree: PyTree) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
