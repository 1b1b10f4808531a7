"""Parameters: what each of them declares, and a model taken apart into plain trees of arrays.

    model = T5Config().init(jax.random.key(0))
    graph, params, frozen = split(model)            # {"embedding": {"table": f32[V, D]}, ...}, {}
    _, train, frozen = split(model, lambda path: path.startswith("decoder/"))
    merge(graph, train, frozen)                     # the same model
    declarations(model)["head"]["kernel"]           -> Declaration(stacked=False, decays=True)

What an optimizer has to know of a parameter is declared where the parameter is made, and travels
with it. A path such as `decoder/mlp/wo/kernel` names a parameter and decides nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from flanmix.model.sharding import constrain, spec

# Nested dicts with strings for keys, whose leaves are arrays.
Params = dict[str, Any]


@dataclass(frozen=True)
class Declaration:
    """What optimizers need to know of a parameter.

    Attributes:
        stacked: whether the leading dimension is layers: each is then a parameter of its own.
        decays: whether weight decay applies; not to norms' scales, biases or position biases.
    """

    stacked: bool
    decays: bool


def parameter(value: Array, *, stacked: bool, decays: bool) -> nnx.Param:
    """Returns a parameter with its declaration; every parameter of a model is made here."""
    return nnx.Param(value, declaration=Declaration(stacked, decays))


def normal(
    rng: Key[Array, ""],
    shape: tuple[int, ...],
    std: float,
    *names: str | None,
    dtype: DTypeLike,
    parts: tuple[int, ...] | None = None,
) -> Float[Array, "..."]:
    """Draws from N(0, std^2) in f32, sharded by logical names, and casts.

    Args:
        rng: randomness.
        shape: the array's shape.
        std: standard deviation.
        *names: logical name of each dimension.
        dtype: of the result.
        parts: in how many parts each dimension may be sharded, where not by its elements (heads).
    """
    sharding = spec(*names, sizes=shape if parts is None else parts)
    return (std * jax.random.normal(rng, shape, out_sharding=sharding)).astype(dtype)


def ones(shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    """Returns ones, replicated."""
    return constrain(jnp.ones(shape, dtype), *(None,) * len(shape))


# ---- a model as trees ----------------------------------------------------------------------------


def split(
    model: Any, trainable: Callable[[str], bool] = lambda path: True
) -> tuple[nnx.GraphDef, Params, Params]:
    """Takes a model apart.

    Args:
        model: a model, concrete, traced or abstract.
        trainable: whether the parameter of a path, such as `decoder/mlp/wo/kernel`, is trained.

    Returns:
        The model without its arrays; the parameters that are trained; the others.
    """
    graph, state = _split(model)
    trained: Params = {}
    frozen: Params = {}
    for path, variable in nnx.to_flat_state(state):
        tree = trained if trainable(_joined(path)) else frozen
        _put(tree, path, variable.get_value())
    return graph, trained, frozen


def merge(graph: nnx.GraphDef, trained: Mapping[str, Any], frozen: Mapping[str, Any] = {}) -> Any:
    """Puts a model together again from what `split` returned."""
    return nnx.merge(graph, union(trained, frozen))


def declarations(model: Any) -> dict[str, Any]:
    """Returns the declaration of every parameter, in the structure of the parameters.

    Raises:
        ValueError: a parameter has none; names it.
    """
    declared: dict[str, Any] = {}
    for path, variable in nnx.to_flat_state(_split(model)[1]):
        found = variable.get_metadata().get("declaration")
        if not isinstance(found, Declaration):
            raise ValueError(
                f"parameter {_joined(path)} declares nothing: make it with params.parameter"
            )
        _put(declared, path, found)
    return declared


def _split(model: Any) -> tuple[nnx.GraphDef, nnx.State]:
    graph, state, rest = nnx.split(model, nnx.Param, ...)
    if jax.tree.leaves(rest):
        names = ", ".join(_joined(path) for path, _ in nnx.to_flat_state(rest))
        raise ValueError(f"a model's arrays must be parameters, and these are not: {names}")
    return graph, state


def _joined(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def _put(tree: dict[str, Any], path: tuple[Any, ...], leaf: Any) -> None:
    *folders, name = map(str, path)
    for folder in folders:
        tree = tree.setdefault(folder, {})
    tree[name] = leaf


def union(a: Mapping[str, Any], b: Mapping[str, Any]) -> Params:
    """Returns two nested dicts without a common leaf as one."""
    both = dict(a)
    for name, inside in b.items():
        both[name] = union(a[name], inside) if name in a else inside
    return both


def part_of(tree: Any, like: Any) -> Any:
    """Returns of nested dicts the leaves whose paths `like` has."""
    if not isinstance(like, dict):
        return tree
    return {name: part_of(tree[name], value) for name, value in like.items()}


# ---- checkpoints of the old form -----------------------------------------------------------------

_KERNELS = {"query", "key", "value", "out", "wi_0", "wi_1", "wo", "head"}


def upgraded_path(old: str) -> str:
    """Returns the path of a parameter that was once a leaf with the name of its module.

    `encoder/attention/query` -> `encoder/attention/query/kernel`; a path of today is returned as it
    is.
    """
    name = old.rpartition("/")[2]
    if name in _KERNELS:
        return f"{old}/kernel"
    if name.endswith("norm"):
        return f"{old}/scale"
    if name == "embedding" or name.endswith("bias"):
        return f"{old}/table"
    return old
