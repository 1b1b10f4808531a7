"""The parameters in a T5X checkpoint's files, whichever of its layouts they have.

    leaves = open_leaves(Path("checkpoint_1198000"))
    leaves["encoder/layers_0/attention/query/kernel"].shape                -> (512, 384)
    leaves["encoder/layers_0/attention/query/kernel"].read((slice(0, 9), slice(None)))

Three layouts are read, the first of them that is there:

state/manifest.ocdbt              Orbax: one key-value store of zarr arrays
checkpoint                        a msgpack file of Flax: small arrays are in it, of others it names
                                  the zarr folder beside it, as state/checkpoint of early Orbax does
target.encoder.layers_0.../       zarr folders alone

Only `target`, the parameters, is looked at; the optimizer is left alone. Nothing is unpickled, and
a name that leads out of the folder is refused. A chunk that is missing is an error, and no zeros.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.serialization
import numpy as np
import tensorstore as ts

from flanmix.convert.source import Index
from flanmix.errors import UserError

_TARGET = "target"
_PLACEHOLDER = "PLACEHOLDER://"  # Orbax's own word for an array that is a folder
_METADATA = {".zarray": "zarr", "zarr.json": "zarr3"}  # file of an array -> tensorstore's driver
_CACHED_BYTES = 1 << 27  # of chunks: several devices may read parts of one


@dataclass(frozen=True)
class Leaf:
    """An array of a checkpoint.

    Attributes:
        shape: its shape.
        read: returns a part, by a slice or a number for each dimension.
    """

    shape: tuple[int, ...]
    read: Callable[[tuple[slice | int, ...]], np.ndarray]


def open_leaves(folder: Path) -> dict[str, Leaf]:
    """Returns the parameters of a checkpoint by their path, such as `token_embedder/embedding`.

    Args:
        folder: one checkpoint, such as `checkpoint_1000000`.

    Raises:
        UserError: there is no checkpoint, or its files are not whole.
    """
    inside = folder / "state"
    root = inside if inside.is_dir() else folder
    if (root / "manifest.ocdbt").is_file():
        found = dict(_of_database(root))
    elif (root / "checkpoint").is_file():
        found = dict(_of_msgpack(root))
    else:
        found = {
            path.name: _opened(path.name, *_zarr(path))
            for path in sorted(root.glob(f"{_TARGET}.*"))
        }
        found = {name.replace(".", "/"): leaf for name, leaf in found.items()}
    leaves = {
        name.removeprefix(f"{_TARGET}/"): leaf
        for name, leaf in found.items()
        if name.startswith(f"{_TARGET}/")
    }
    if not leaves:
        raise UserError(f"{folder} is no T5X checkpoint{_hint(folder)}")
    return leaves


def _hint(folder: Path) -> str:
    """Where a checkpoint may be instead."""
    inside = [p for p in folder.glob("checkpoint_*") if p.name.split("_")[-1].isdigit()]
    if inside:
        last = max(inside, key=lambda path: int(path.name.split("_")[-1]))
        return f"; it holds checkpoints: name one, such as {last}"
    return ": it has neither state/manifest.ocdbt nor a file 'checkpoint' with parameters"


# ---- the layouts ---------------------------------------------------------------------------------


def _of_database(root: Path) -> Iterator[tuple[str, Leaf]]:
    """Yields the arrays of an Orbax store, `target/...` with their leaves."""
    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{root}/"}}
    prefix = f"{_TARGET}."
    try:
        keys = ts.KvStore.open(store).result().list(ts.KvStore.KeyRange(prefix, _TARGET + "/"))
        keys = [key.decode() for key in keys.result()]
    except (ValueError, UnicodeDecodeError) as fault:
        raise UserError(f"{root / 'manifest.ocdbt'} can't be read: {_brief(fault)}") from fault
    for key in keys:
        name, _, file = key.rpartition("/")
        if file in _METADATA:
            yield (
                name.replace(".", "/"),
                _opened(name, _METADATA[file], {**store, "path": f"{name}/"}),
            )


def _of_msgpack(root: Path) -> Iterator[tuple[str, Leaf]]:
    """Yields the arrays of a msgpack file and of the folders that it names."""
    path = root / "checkpoint"
    packed = path.read_bytes()
    if packed.startswith(b"model_checkpoint_path"):
        raise UserError(
            f"{path} is a TensorFlow checkpoint: convert it with T5X first, whose checkpoints "
            "can be read"
        )
    try:
        tree = flax.serialization.msgpack_restore(packed)
    except Exception as fault:  # whatever msgpack, NumPy and Flax make of bytes that are not theirs
        raise UserError(f"{path} can't be read as Flax's msgpack: {_brief(fault)}") from fault
    tree = tree.get("optimizer", tree) if isinstance(tree, dict) else {}
    for name, leaf in _flat(tree.get(_TARGET, {}), _TARGET):
        if isinstance(leaf, np.ndarray):
            if leaf.dtype == np.uint16:
                raise UserError(
                    f"{path}: {name} is bfloat16 written as uint16, by a T5X of before 2022: save "
                    "the checkpoint anew with a newer one"
                )
            yield name, Leaf(leaf.shape, leaf.__getitem__)
        else:
            folder = _folder_of(leaf, name, path)
            yield name, _opened(name, *_zarr(root / folder))


def _flat(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested dicts with their paths."""
    if isinstance(tree, dict) and not {"driver", "kvstore"} <= set(tree):
        for name, inside in tree.items():
            yield from _flat(inside, f"{path}/{name}")
    elif tree is not None:
        yield path, tree


def _folder_of(leaf: Any, name: str, path: Path) -> str:
    """Returns the folder that a leaf of a msgpack file names; it must be beside the file."""
    folder = None
    if isinstance(leaf, str) and leaf.startswith(_PLACEHOLDER):
        folder = leaf.removeprefix(_PLACEHOLDER)
    elif isinstance(leaf, dict):
        store = leaf["kvstore"]
        folder = (store.get("path") if isinstance(store, Mapping) else None) or leaf.get("path")
    folder = folder.strip("/") if isinstance(folder, str) else ""
    if not folder or folder in (".", "..") or Path(folder).name != folder:
        raise UserError(f"{path}: {name} names no folder beside it, but {_brief(leaf)}")
    return folder


# ---- one array -----------------------------------------------------------------------------------


def _zarr(folder: Path) -> tuple[str, dict[str, Any]]:
    """Returns the driver and the place of a folder's array."""
    for file, driver in _METADATA.items():
        if (folder / file).is_file():
            return driver, {"driver": "file", "path": f"{folder}/"}
    raise UserError(f"{folder} lacks .zarray: the checkpoint is not whole")


def _opened(name: str, driver: str, store: Mapping[str, Any]) -> Leaf:
    spec = {"driver": driver, "kvstore": store, "fill_missing_data_reads": False}
    where = f"T5X array {name.replace('.', '/').removeprefix(f'{_TARGET}/')}"
    try:
        array = ts.open(spec, read=True, context=_CONTEXT).result()
    except ValueError as fault:
        raise UserError(f"{where} can't be opened: {_brief(fault)}") from fault

    def read(index: Index | tuple[slice | int, ...]) -> np.ndarray:
        try:
            return np.asarray(array[index].read().result())
        except ValueError as fault:
            raise UserError(f"{where} can't be read: {_brief(fault)}") from fault

    return Leaf(tuple(array.shape), read)


_CONTEXT = ts.Context({"cache_pool": {"total_bytes_limit": _CACHED_BYTES}})


def _brief(fault: Any) -> str:
    """The start of a message."""
    text = str(fault)
    return text if len(text) <= 200 else f"{text[:200]}..."
