"""A folder for `transformers`: configuration, safetensors shards with their index, tokenizer.

    write_folder(Path("out"), params, config, foreign, files, dtype="float32", shard_bytes=5e9)
    -> out/config.json, out/model.safetensors (or shards and their index), out/tokenizer.json, ...

The folder appears whole or not at all. What the model's own `config.json` said and we do not use
(ids of special tokens, the context's length) comes back as it was. A shard at a time is in memory.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import flanmix.convert.families  # noqa: F401  # they register themselves
from flanmix.console import bar
from flanmix.convert.family import FAMILIES, Family, Tensor, family_of
from flanmix.convert.folder import CONFIG, GENERATION
from flanmix.convert.safetensors_folder import INDEX, SINGLE
from flanmix.errors import UserError
from flanmix.model.api import ModelConfig
from flanmix.model.params import Params

DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(jnp.bfloat16)}
SHARD_BYTES = 5_000_000_000


def write_folder(
    folder: Path,
    params: Params,
    config: ModelConfig,
    foreign: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    dtype: str = "float32",
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a model as `transformers` reads it.

    Args:
        folder: where to; must not exist, or be empty.
        params: the parameters, nested dicts.
        config: our configuration.
        foreign: the documents that the model came with, `config` and `generation_config`; empty
            for a model that was made here.
        files: the tokenizer's files.
        dtype: of the weights, a name of `DTYPES`.
        shard_bytes: most bytes of a file of weights, where a tensor is not larger itself.

    Raises:
        UserError: the folder has something in it, the model has no form there, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already: name a new folder")
    from safetensors import SafetensorError

    family = family_for(config, foreign)
    document = {**foreign.get("config", {}), **family.foreign_config(config)}
    document["dtype" if "dtype" in document else "torch_dtype"] = dtype
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(written, ignore_errors=True)
    try:
        written.mkdir()
        for name, data in files.items():
            (written / name).write_bytes(data)
        if generation := foreign.get("generation_config"):
            _write_json(written / GENERATION, generation)
        _write_json(written / CONFIG, document)
        _write_shards(written, family, config, params, DTYPES[dtype], shard_bytes)
        if folder.exists():
            folder.rmdir()
        written.rename(folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{folder} can't be written ({reason})") from error
    finally:
        shutil.rmtree(written, ignore_errors=True)


def stored_dtype(foreign: Mapping[str, Any]) -> str:
    """Returns the type of the weights that a model came in; float32 where nothing says it."""
    config = foreign.get("config", {})
    found = config.get("dtype") or config.get("torch_dtype")
    return found if found in DTYPES else "float32"


def family_for(config: ModelConfig, foreign: Mapping[str, Any]) -> Family:
    """Returns the family that a model is written as: its own, or the first that can hold it.

    Raises:
        UserError: none can; says why of each.
    """
    if document := foreign.get("config"):
        return family_of(document)
    reasons = []
    for family in FAMILIES.values():
        try:
            back = family.config(family.foreign_config(config))
            # Others name no dropout, or one of their own; it decides nothing that is written.
            if replace(back, dropout_rate=config.dropout_rate) == config:  # pyrefly: ignore
                return family
        except (UserError, AssertionError, KeyError, ValueError) as error:
            reasons.append(str(error))
    why = "; ".join(dict.fromkeys(filter(None, reasons)))
    raise UserError(
        f"no family of `transformers` has this model, a {type(config).__name__}"
        + (f": {why}" if why else "")
    )


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- weights -----------------------------------------------------------------------------------


def _write_shards(
    folder: Path,
    family: Family,
    config: ModelConfig,
    params: Params,
    dtype: np.dtype,
    shard_bytes: int,
) -> None:
    from safetensors.numpy import save_file

    leaves = {
        "/".join(str(key.key) for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    tensors = family.tensors(config)
    plan = _plan([(t, leaves[t.path].shape) for t in tensors], dtype, shard_bytes)
    files: dict[str, str] = {}
    with bar(sum(len(shard) for shard in plan), "tensor", leave=False) as shown:
        for number, shard in enumerate(plan, start=1):
            several = f"model-{number:05d}-of-{len(plan):05d}.safetensors"
            file = several if len(plan) > 1 else SINGLE
            arrays = {}
            for tensor, layer, name in shard:
                arrays[name] = _theirs(leaves[tensor.path], tensor, layer, dtype)
                shown.update()
            save_file(arrays, str(folder / file), metadata={"format": "pt"})
            shutil.copymode(folder / CONFIG, folder / file)  # made for the owner alone
            files |= dict.fromkeys(arrays, file)
    if len(plan) > 1:
        total = sum(int(leaf.size) for leaf in leaves.values()) * dtype.itemsize
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": files})


_Planned = tuple[Tensor, int, str]  # a parameter of ours, its layer, and the tensor's name


def _plan(
    tensors: list[tuple[Tensor, tuple[int, ...]]], dtype: np.dtype, shard_bytes: int
) -> list[list[_Planned]]:
    """Divides the tensors among files, in their order."""
    shards: list[list[_Planned]] = [[]]
    left = shard_bytes
    for tensor, layer, name, shape in _each(tensors):
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size > left and shards[-1]:
            shards.append([])
            left = shard_bytes
        shards[-1].append((tensor, layer, name))
        left -= size
    return shards


def _each(
    tensors: list[tuple[Tensor, tuple[int, ...]]],
) -> Iterator[tuple[Tensor, int, str, tuple[int, ...]]]:
    for tensor, shape in tensors:
        for layer, name in enumerate(tensor.names):
            yield tensor, layer, name, shape[1:] if tensor.stacked else shape


def _theirs(leaf: jax.Array, tensor: Tensor, layer: int, dtype: np.dtype) -> np.ndarray:
    own = np.asarray(leaf[layer] if tensor.stacked else leaf)
    return np.ascontiguousarray((own.T if tensor.transposed else own).astype(dtype))
