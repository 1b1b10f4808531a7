"""What a checkpoint says of itself, so that damage is seen before anything is computed with it.

Beside its arrays a checkpoint has one JSON document: what the run wants to keep, with a digest over
the whole, and for every array its type, shape and checksum, the sum of its bits as 32-bit words
modulo 2^32. Addition is the same in any order, so a checksum does not depend on the mesh.

    describe_arrays({"a": {"b": ones(3)}}, checksums=True)  ->  {"a/b": ["float32", [3], 32...]}
    with_digest({"step": 7})  ->  {"digest": "8d1c...", "step": 7}
"""

import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt

from flanmix.errors import UserError
from flanmix.model.sharding import shardings

PyTree = Any

FORMAT = 2  # of the JSON document; the first one had no number

TOKENIZER = "tokenizer"  # a checkpoint's folder of its tokenizer's files

_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}


def describe_arrays(tree: PyTree, *, checksums: bool) -> dict[str, list]:
    """Returns path -> [type, shape] or [type, shape, checksum] of every array of a tree."""
    leaves = [(path_of(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
    described: dict[str, list] = {path: [str(x.dtype), list(x.shape)] for path, x in leaves}
    if checksums:
        sums = jax.device_get(_checksums([leaf for _, leaf in leaves]))
        for (path, _), checksum in zip(leaves, sums, strict=True):
            described[path].append(int(checksum))
    return described


@jax.jit
def _checksums(leaves: list[Array]) -> list[UInt[Array, ""]]:
    def checksum(x: Array) -> Array:
        x = x.astype(jnp.uint8) if x.dtype == jnp.bool_ else x
        bits = jax.lax.bitcast_convert_type(x, _UNSIGNED[x.dtype.itemsize])
        return jnp.sum(bits, dtype=jnp.uint32)

    return [checksum(x) for x in leaves]


def with_digest(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a document with its digest."""
    return {"digest": _digest(body), **body}


def read_document(folder: Path) -> dict[str, Any]:
    """Returns the JSON of one checkpoint.

    Raises:
        ValueError: it is not what was written.
    """
    body = json.loads((folder / "run" / "metadata").read_text())
    if body.pop("digest") != _digest(body):
        raise ValueError("its run/metadata is not what was written")
    return body


def saved_digest(folder: Path) -> str:
    """Returns the digest of a checkpoint's document, which no other checkpoint has.

    Raises:
        OSError: it can't be read.
        ValueError: it is none.
    """
    return json.loads((folder / "run" / "metadata").read_text())["digest"]


def saved_steps(directory: Path) -> list[int]:
    """Returns the steps of which `directory` has checkpoints, newest first."""
    if not directory.is_dir():
        return []
    return sorted((int(p.name) for p in directory.iterdir() if p.name.isdecimal()), reverse=True)


def check_same(
    saved: Mapping[str, list], wanted: Mapping[str, list], folder: Path, fields: Callable[[], str]
) -> None:
    """Compares types and shapes of arrays by path.

    Args:
        saved: the arrays of a checkpoint.
        wanted: the arrays to be read.
        folder: the checkpoint.
        fields: says, if they differ, in which of its fields the model does, with a `; ` behind.

    Raises:
        UserError: they differ; names the first that does.
    """
    for path in sorted({*saved, *wanted}, key=lambda path: (path.startswith("optimizer"), path)):
        there, here = (side[path][:2] if path in side else None for side in (saved, wanted))
        if there != here:
            what = "optimizer" if path.startswith("optimizer") else "model"
            raise UserError(
                f"the checkpoint {folder} is of another {what}: {fields()}{path} is "
                f"{_described(there)} there and {_described(here)} here; "
                f"{_way_out(path, there, here)}"
            )


def _way_out(path: str, there: list | None, here: list | None) -> str:
    if path.startswith("optimizer"):
        return "choose another RUN_DIR, with INITIALIZE_FROM to begin with its parameters"
    if there is None or here is None:
        return (
            "give the model the fields that it had, or start from it in another RUN_DIR with "
            "INITIALIZE_FROM and ALLOW_MISSING=True, which drops or makes new what one side lacks"
        )
    return "give the model the fields that it had"


def _described(array: list | None) -> str:
    return "absent" if array is None else f"{array[0]}{array[1]}"


def placed(tree: PyTree) -> PyTree:
    """Returns abstract leaves with shardings on the devices of the mesh that is set."""
    mesh = jax.sharding.get_mesh()
    if mesh.empty:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        tree,
        shardings(tree, mesh),
    )


def path_of(path: tuple) -> str:
    """Returns "a/b" of a path in a tree."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def orbax() -> Any:
    """Imports Orbax, whose errors all reach us as exceptions: it need not print them as well."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", r"coroutine '.*write_fragment' was never awaited")
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable
    return ocp


def _unraisable(what: Any) -> None:
    # A read that failed comes back once more, after its event loop is gone; it was reported.
    if "Event loop is closed" not in str(what.exc_value):
        sys.__unraisablehook__(what)


def reason_of(error: Exception) -> str:
    """Returns what went wrong, short enough for a line."""
    text = " ".join(str(error).split())
    for known in ("No space left on device", "Disk quota exceeded", "File too large"):
        if known in text:
            return known
    return f"{type(error).__name__}: {text[:160]}"
