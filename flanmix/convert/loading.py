"""Parameters from a source of tensors, each read straight to the devices that hold it.

    with jax.set_mesh(mesh):
        params = read_params(family, config, source, compute)      # nested dicts, sharded

Names and shapes are checked before anything is read: a tensor that is missing, that nothing reads,
or of another shape is named, and nothing is loaded. Then a parameter at a time is read, shard by
shard, so that the host never holds more than one of them beside the target arrays, and a host of
several reads what its own devices hold.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from flanmix.convert.family import Family, Tensor
from flanmix.convert.source import Index, TensorSource
from flanmix.errors import UserError
from flanmix.learn.integrity import placed
from flanmix.model.api import Compute, ModelConfig
from flanmix.model.params import Params, split

_SHOWN = 3  # names in a message


def abstract_params(config: ModelConfig, compute: Compute) -> Params:
    """Returns shapes, types and shardings of a model's parameters under the mesh that is set."""
    model = jax.eval_shape(lambda rng: config.init(rng, compute), jax.random.key(0))
    return placed(split(model)[1])


def read_params(
    family: Family, config: ModelConfig, source: TensorSource, compute: Compute
) -> Params:
    """Returns a model's parameters, read from a source under the mesh that is set.

    Args:
        family: names the tensors.
        config: our configuration of the model.
        source: the tensors.
        compute: says the type of the parameters.

    Raises:
        UserError: a tensor is missing, is not of the model, or has another shape.
    """
    abstract = abstract_params(config, compute)
    leaves = {
        "/".join(str(key.key) for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract)
    }
    tensors = family.tensors(config)
    check_tensors(family, tensors, {path: leaf.shape for path, leaf in leaves.items()}, source)
    arrays = {t.path: _read(t, leaves[t.path], source) for t in tensors}
    return jax.tree_util.tree_map_with_path(
        lambda path, _: arrays["/".join(str(key.key) for key in path)], abstract
    )


def check_tensors(
    family: Family,
    tensors: Sequence[Tensor],
    shapes: dict[str, tuple[int, ...]],
    source: TensorSource,
) -> None:
    """Checks that a source holds a model's tensors, of its shapes, and nothing besides.

    Raises:
        UserError: names what differs.
    """
    wanted: dict[str, tuple[int, ...]] = {}
    for tensor in tensors:
        shape = shapes[tensor.path][1:] if tensor.stacked else shapes[tensor.path]
        wanted |= dict.fromkeys(tensor.names, shape[::-1] if tensor.transposed else shape)
    if lacking := [name for name in wanted if name not in source.shapes]:
        raise UserError(f"{source.place} lacks tensor {_some(lacking)}")
    known = re.compile("|".join(f"(?:{pattern})" for pattern in family.unread) or r"(?!)")
    besides = [n for n in source.shapes if n not in wanted and not known.fullmatch(n)]
    if besides:
        raise UserError(
            f"{source.place} has tensor {_some(besides)}, which its config.json's model does not"
        )
    for name, shape in wanted.items():
        if tuple(source.shapes[name]) != tuple(shape):
            raise UserError(
                f"{source.place}: tensor {name} has shape {tuple(source.shapes[name])}, and by its "
                f"config.json it has {tuple(shape)}"
            )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _read(tensor: Tensor, leaf: jax.ShapeDtypeStruct, source: TensorSource) -> jax.Array:
    """Reads one parameter to its devices."""

    def part(index: Any) -> np.ndarray:
        full = tuple(slice(*i.indices(size)) for i, size in zip(index, leaf.shape, strict=True))
        if not tensor.stacked:
            return _matrix(tensor, source, tensor.names[0], full).astype(leaf.dtype)
        layers = tensor.names[full[0]]
        stacked = np.empty((len(layers), *(i.stop - i.start for i in full[1:])), leaf.dtype)
        for number, name in enumerate(layers):
            stacked[number] = _matrix(tensor, source, name, full[1:])
        return stacked

    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.make_array_from_callback(leaf.shape, sharding, part)


def _matrix(tensor: Tensor, source: TensorSource, name: str, index: Index) -> np.ndarray:
    if tensor.transposed:
        return source.read(name, index[::-1]).T
    return source.read(name, index)
