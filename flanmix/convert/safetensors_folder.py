"""A Hugging Face folder's weights: `model.safetensors`, or shards and their index.

    source = SafetensorsFolder(Path("smollm2"))
    source.shapes["model.norm.weight"]                        -> (576,)
    source.read("model.norm.weight", (slice(0, 10),))         -> f32 [10]

Headers are read when the folder is opened, and every tensor's extent is held against its file's
size, so that a truncated download is found before anything is loaded. Nothing is ever unpickled.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from flanmix.convert.source import Index
from flanmix.errors import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_DTYPES = {"F32": 4, "F16": 2, "BF16": 2}
_HEADER = struct.Struct("<Q")
# What JSON that is not what it is taken for makes of reading it.
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class SafetensorsFolder:
    """The tensors of a folder.

    Args:
        folder: with `model.safetensors`, or shards and `model.safetensors.index.json`.

    Raises:
        UserError: there are none, or a file is damaged; names the file.
    """

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self.shapes: Mapping[str, tuple[int, ...]] = {}
        self._files: dict[str, Path] = {}
        listed = _listed(folder)
        shapes: dict[str, tuple[int, ...]] = {}
        for file in sorted(set(listed.values())) if listed else [folder / SINGLE]:
            for name, shape in _header(file).items():
                if name in self._files:
                    raise UserError(f"tensor '{name}' is in {self._files[name]} and in {file}")
                shapes[name], self._files[name] = shape, file
        for name, file in listed.items():
            if self._files.get(name) != file:
                raise UserError(f"{file} lacks tensor '{name}', which {INDEX} says it holds")
        self.shapes = shapes

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a part of a tensor, of the type that it is stored in.

        Raises:
            UserError: the file can't be read.
        """
        from safetensors import SafetensorError, safe_open

        file = self._files[name]
        try:
            # Opened each time: pages of a file that stays mapped count as this process's memory.
            with safe_open(file, framework="np") as opened:
                return opened.get_slice(name)[index] if index else opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise UserError(f"tensor '{name}' of {file} can't be read: {error}") from None


def _listed(folder: Path) -> dict[str, Path]:
    """Which file holds each tensor, by the index; empty where one file holds all."""
    if (folder / SINGLE).is_file():
        return {}
    index = folder / INDEX
    if not index.is_file():
        pickled = sorted(path.name for kind in _PICKLED for path in folder.glob(kind))
        if pickled:
            raise UserError(
                f"{folder} has its weights in {pickled[0]}, which may hold code and is not read: "
                "save it as safetensors (in transformers: model.save_pretrained(folder))"
            )
        raise UserError(f"{folder} has no weights: neither {SINGLE} nor {INDEX} is there")
    try:
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        named = {str(name): PurePosixPath(file) for name, file in files.items()}
    except (*_NONSENSE, OSError) as error:
        raise UserError(f"{index} is no index of tensors: {error}") from None
    for name, file in named.items():
        if len(file.parts) != 1 or file.is_absolute() or file.name in ("", "..", "."):
            raise UserError(f"{index} puts tensor '{name}' into '{file}', outside its folder")
        if not (folder / file).is_file():
            raise UserError(f"{folder} lacks {file}, which {INDEX} names: the download is not done")
    return {name: folder / file for name, file in named.items()}


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a file, whose bytes are all there."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            (length,) = _HEADER.unpack(opened.read(_HEADER.size))
            if length > size - _HEADER.size:
                raise ValueError(f"its header says {length} bytes, more than the file has")
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        found = {name: _checked(name, entry) for name, entry in header.items()}
        ends = [entry["data_offsets"][1] for entry in header.values()]
    except (*_NONSENSE, OSError, struct.error) as error:
        raise UserError(f"{file} is damaged or no safetensors file: {error}") from None
    if (wanted := _HEADER.size + length + max(ends, default=0)) != size:
        raise UserError(f"{file} is damaged: it has {size} bytes, and its header says {wanted}")
    return found


def _checked(name: str, entry: Mapping[str, Any]) -> tuple[int, ...]:
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, begin, end)):
        raise ValueError(f"tensor '{name}' has shape {shape} at bytes {begin} to {end}")
    if entry["dtype"] not in _DTYPES:
        raise ValueError(
            f"tensor '{name}' is of type {entry['dtype']}: only {', '.join(_DTYPES)} are read"
        )
    if end - begin != int(np.prod(shape, dtype=np.int64)) * _DTYPES[entry["dtype"]]:
        raise ValueError(f"tensor '{name}' has {end - begin} bytes, not those of shape {shape}")
    return shape
