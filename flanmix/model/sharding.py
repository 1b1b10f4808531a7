"""The mesh and the one table that names its axes; everywhere else dimensions go by logical names.

A mesh has three explicit axes: over `data` the batch is sharded and parameters are replicated, over
`fsdp` both are sharded, and over `tensor` heads, the inner dimension of the MLP and the vocabulary.
`RULES` says over which axes a logical dimension is sharded, and `spec` turns logical names into a
partition under the mesh that is set:

    with jax.set_mesh(make_mesh(data=2, fsdp=2, tensor=2)):
        spec("batch", None, "heads")               -> P(("data", "fsdp"), None, "tensor")
        spec("embed", "heads", sizes=(512, 3))     -> P("fsdp", None)       # 3 heads: replicated
    spec("batch", None, "heads")                   -> None                # no mesh: nothing to say

With an explicit mesh the partition is part of an array's type, so a sum over a partitioned
dimension that nobody asked for is an error while tracing, also on an `abstract_mesh` of hundreds of
devices that do not exist here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from flanmix.errors import UserError

AXES = ("data", "fsdp", "tensor")

RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "mlp": ("tensor",),
    "vocab": ("tensor",),
}


def make_mesh(
    data: int = 1, fsdp: int = 1, tensor: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Returns a mesh with explicit axes over all devices (or those given).

    Raises:
        UserError: data x fsdp x tensor is not the number of devices.
    """
    count = len(devices) if devices is not None else jax.device_count()
    if data * fsdp * tensor != count or min(data, fsdp, tensor) < 1:
        raise UserError(
            f"a mesh of data={data} x fsdp={fsdp} x tensor={tensor} needs {data * fsdp * tensor} "
            f"devices, here are {count}: choose three numbers whose product is {count}, or the "
            "file of gin/hardware/ for this machine"
        )
    kinds = (AxisType.Explicit,) * len(AXES)
    return jax.make_mesh((data, fsdp, tensor), AXES, axis_types=kinds, devices=devices)


def abstract_mesh(data: int = 1, fsdp: int = 1, tensor: int = 1) -> AbstractMesh:
    """Returns a mesh of devices that need not exist, to trace and lower for it."""
    return AbstractMesh((data, fsdp, tensor), AXES, axis_types=(AxisType.Explicit,) * len(AXES))


def _partition(
    mesh: AbstractMesh | Mesh, names: Sequence[str | None], sizes: Sequence[int | None] | None
) -> P:
    sizes = (None,) * len(names) if sizes is None else sizes
    if len(sizes) != len(names):
        raise ValueError(f"{len(names)} logical names {names} for {len(sizes)} dimensions {sizes}")
    parts, used = [], set()
    for name, size in zip(names, sizes, strict=True):
        axes = RULES[name] if name is not None else ()
        if used & set(axes):
            raise ValueError(f"logical names {names} ask for the mesh axis {axes} twice")
        used |= set(axes)
        ways = math.prod(mesh.shape[axis] for axis in axes)
        if size is not None and size % ways:
            if name == "batch":
                raise UserError(
                    f"a batch of {size} rows can't be divided over {ways} devices (data x fsdp): "
                    f"choose a batch size that is a multiple of {ways}"
                )
            axes = ()
        parts.append(axes[0] if len(axes) == 1 else axes or None)
    return P(*parts)


def spec(*names: str | None, sizes: Sequence[int | None] | None = None) -> P | None:
    """Returns the partition of dimensions by logical name; None where no explicit mesh is set.

    Args:
        *names: one logical name of `RULES` a dimension, None for one that is replicated.
        sizes: the dimensions' sizes; one that the mesh can't divide is replicated (8 key heads on
            16 devices).

    Raises:
        UserError: the batch can't be divided.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not mesh.are_all_axes_explicit:
        return None
    return _partition(mesh, names, sizes)


def spec_of(x: jax.Array) -> P | None:
    """Returns how `x` is partitioned under the explicit mesh that is set, or None."""
    mesh = jax.sharding.get_abstract_mesh()
    return None if mesh.empty or not mesh.are_all_axes_explicit else jax.typeof(x).sharding.spec


def constrain(
    x: jax.Array, *names: str | None, sizes: Sequence[int | None] | None = None
) -> jax.Array:
    """Returns `x` partitioned by logical names (on an automatic mesh, with a hint to be so).

    `sizes` are those of `x`, unless a dimension can't be sharded by its elements, as with heads.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    partition = _partition(mesh, names, x.shape if sizes is None else sizes)
    if mesh.are_all_axes_explicit:
        return jax.reshard(x, partition)
    return jax.lax.with_sharding_constraint(x, partition)


def shardings(abstract: Any, mesh: Mesh) -> Any:
    """Returns how the leaves of an abstract tree are sharded over `mesh`.

    The tree comes from `jax.eval_shape` under that mesh; restoring a checkpoint needs the result.
    """

    def of_leaf(leaf: Any) -> NamedSharding:
        return NamedSharding(mesh, leaf.sharding.spec if leaf.sharding is not None else P())

    return jax.tree.map(of_leaf, abstract)


@dataclass(frozen=True)
class Replicated:
    """Parameters that are whole on every device though the mesh shards parameters.

    Attributes:
        share: of all parameters, by their number.
        largest: path and shape of the largest of them; "" where there is none.
    """

    share: float
    largest: str


def replicated(params: Any) -> Replicated:
    """Returns what no device has a part of only, of an abstract tree of parameters.

    The tree comes from `jax.eval_shape` under the mesh, which may be an `abstract_mesh`.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    whole = [(path, leaf) for path, leaf in leaves if not _is_sharded(leaf)]
    total = sum(leaf.size for _, leaf in leaves)
    path, largest = max(whole, key=lambda found: found[1].size, default=((), None))
    named = jax.tree_util.keystr(path, simple=True, separator="/")
    return Replicated(
        sum(leaf.size for _, leaf in whole) / max(1, total),
        f"{named} {list(largest.shape)}" if largest is not None else "",
    )


def _is_sharded(leaf: Any) -> bool:
    """Whether an abstract array is divided over an axis of the mesh that has several devices."""
    sharding = leaf.sharding
    if sharding is None:
        return False
    parts = (part if isinstance(part, tuple) else (part,) for part in sharding.spec)
    return any(sharding.mesh.shape[axis] > 1 for part in parts for axis in part if axis)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns how the rows of a batch `[B, ...]` are sharded over `mesh`."""
    return NamedSharding(mesh, P(RULES["batch"]))
