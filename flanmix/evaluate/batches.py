"""Rows of equal shape on the devices: what decoding and ranking share.

A batch always has `batch_size` rows, the last one filled up with empty rows (segment 0 throughout),
so that one compiled function serves every task. `fixed_batches` splits and fills:

    fixed_batches({"x": [3 rows]}, 2)  ->  {"x": rows 0, 1}, {"x": row 2, an empty row}

Under a mesh that is set every host makes the same batch and places its own part of it, and results
come back replicated on every host.
"""

from collections.abc import Iterable, Iterator, Mapping

import jax
import numpy as np

from flanmix.errors import UserError
from flanmix.model.sharding import batch_sharding


def check_ids(ids: Iterable[np.ndarray], vocab_size: int) -> None:
    """Checks that a model has all ids: on the devices one beyond its own is read as another.

    Args:
        ids: arrays of ids.
        vocab_size: how many a model has.

    Raises:
        UserError: one is beyond them.
    """
    highest = max((int(array.max()) for array in ids if array.size), default=-1)
    if highest >= vocab_size:
        raise UserError(
            f"the vocabulary has an id {highest}, and the model's are 0 to {vocab_size - 1}: it is "
            "not the vocabulary that the model was trained with"
        )


def fixed_batches(
    rows: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of exactly `batch_size` rows, in order.

    Args:
        rows: features `[R, ...]`, all of the same number of rows.
        batch_size: rows of a batch.
    """
    count = len(next(iter(rows.values())))
    for start in range(0, count, batch_size):
        batch = {}
        for name, array in rows.items():
            part = array[start : start + batch_size]
            empty = np.zeros((batch_size - len(part), *array.shape[1:]), array.dtype)
            batch[name] = np.concatenate([part, empty])
        yield batch


def to_devices(features: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts a batch that every host has in full on the devices of the mesh, if one is set."""
    mesh = jax.sharding.get_mesh()
    if mesh.empty:
        return {name: jax.numpy.asarray(array) for name, array in features.items()}
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_callback(array.shape, sharding, array.__getitem__)
        for name, array in features.items()
    }
