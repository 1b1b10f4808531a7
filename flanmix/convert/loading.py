"""Parameters from a source of tensors, each read straight to the devices that hold it.

    with jax.set_mesh(mesh):
        params = read_params(family, config, source, compute)      # nested dicts, sharded

Names and shapes are checked before anything is read: a tensor that is missing, that nothing reads,
or of another shape is named, and nothing is loaded. Then a parameter at a time is read, in blocks
of some layers or rows where it is large, so that the host holds little beside the target arrays,
and a host of several reads what its own devices hold: each distinct shard once.
"""

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flanmix.console import bar
from flanmix.convert.family import Family, Tensor
from flanmix.convert.source import Index, TensorSource
from flanmix.errors import UserError
from flanmix.learn.integrity import placed
from flanmix.model.api import Compute, ModelConfig
from flanmix.model.params import Params, split

_SHOWN = 3  # names in a message
_BLOCK_BYTES = 1 << 26  # of a parameter, that a host reads at a time


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
    arrays = {}
    with bar(len(tensors), "parameter", leave=False) as shown:
        for tensor in tensors:
            arrays[tensor.path] = _read(tensor, leaves[tensor.path], source)
            shown.update()
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
    """Reads one parameter to its devices, in blocks where it is large."""
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    axis = 1 if tensor.transposed and not tensor.stacked else 0  # the tensor's own rows, or layers
    length = leaf.shape[axis]
    here = leaf.dtype.itemsize * math.prod(sharding.shard_shape(leaf.shape))
    here *= len(sharding.addressable_devices)
    size = max(1, length * _BLOCK_BYTES // max(1, here))
    if size >= length or sharding.shard_shape(leaf.shape)[axis] != length:
        return _read_block(tensor, leaf, sharding, source, axis, range(length))
    whole = jnp.zeros(leaf.shape, leaf.dtype, device=sharding)
    for start in range(0, length, size):
        rows = range(start, min(start + size, length))
        block = _read_block(tensor, leaf, sharding, source, axis, rows)
        whole = _updated(whole, block, start, axis)
        whole.block_until_ready()  # else blocks pile up while the devices are behind
    return whole


@functools.partial(jax.jit, donate_argnums=0, static_argnums=3)
def _updated(whole: jax.Array, block: jax.Array, start: int, axis: int) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(whole, block, start, axis)


def _read_block(
    tensor: Tensor,
    leaf: jax.ShapeDtypeStruct,
    sharding: jax.sharding.Sharding,
    source: TensorSource,
    axis: int,
    rows: range,
) -> jax.Array:
    """Reads a parameter's rows of one axis; each distinct shard of them once."""
    shape = (*leaf.shape[:axis], len(rows), *leaf.shape[axis + 1 :])

    @functools.cache
    def shard(bounds: tuple[tuple[int, int], ...]) -> np.ndarray:
        index = [slice(*both) for both in bounds]
        if bounds:
            index[axis] = slice(*(rows.start + bound for bound in bounds[axis]))
        if not tensor.stacked:
            return _matrix(tensor, source, tensor.names[0], tuple(index)).astype(leaf.dtype)
        layers = tensor.names[index[0]]
        stacked = np.empty((len(layers), *(i.stop - i.start for i in index[1:])), leaf.dtype)
        for number, name in enumerate(layers):
            stacked[number] = _matrix(tensor, source, name, tuple(index[1:]))
        return stacked

    def part(index: Any) -> np.ndarray:
        both = zip(index, shape, strict=True)
        return shard(tuple(i.indices(size)[:2] for i, size in both))

    return jax.make_array_from_callback(shape, sharding, part)


def _matrix(tensor: Tensor, source: TensorSource, name: str, index: Index) -> np.ndarray:
    if tensor.transposed:
        return source.read(name, index[::-1]).T
    return source.read(name, index)
