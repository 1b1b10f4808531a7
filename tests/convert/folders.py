"""Tiny folders as `transformers` writes them, made by the safetensors library."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

import flanmix.convert.families  # noqa: F401  # registers them
from flanmix.convert.family import Family, family_of
from flanmix.model.api import ModelConfig
from flanmix.model.decoder import DecoderConfig
from tests.convert.tensors import foreign_shapes
from tests.data.tokenizers import byte_level, write_json

TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
# More than we use, which must come back.
BESIDES = {"max_position_embeddings": 96, "bos_token_id": 1, "eos_token_id": 2, "use_cache": True}
GENERATION = {"eos_token_id": [2, 0], "temperature": 0.7, "_from_model_config": False}


def tiny_llama(vocab_size: int = 320) -> DecoderConfig:
    """A configuration with a row for each token of `byte_level`'s tokenizer."""
    shape = dict(d_model=16, d_ff=24, num_heads=4, num_kv_heads=2, head_dim=4, num_layers=2)
    return DecoderConfig(vocab_size=vocab_size, **shape, tied_head=True)


def write_model(
    folder: Path, family: Family, config: ModelConfig, *, dtype: str = "float32", shards: int = 1
) -> Path:
    """Writes configuration and random weights, in one file or in shards with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder, "config.json", {**BESIDES, **family.foreign_config(config), "dtype": dtype})
    write_json(folder, "generation_config.json", GENERATION)
    rng = np.random.default_rng(0)
    tensors = {
        name: (0.1 * rng.standard_normal(shape)).astype(TYPES[dtype])
        for name, shape in foreign_shapes(family, config).items()
    }
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    files = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in list(tensors)[number::shards]}
        save_file(part, folder / file)
        files |= dict.fromkeys(part, file)
    write_json(folder, "model.safetensors.index.json", {"metadata": {}, "weight_map": files})
    return folder


def llama_folder(folder: Path, vocab_size: int = 320, dtype: str = "float32") -> Path:
    """A whole Llama: weights, configuration and tokenizer."""
    config = tiny_llama(vocab_size)
    return byte_level(write_model(folder, family_of({"model_type": "llama"}), config, dtype=dtype))


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of a folder, in one file or several."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def assert_same_bytes(there: dict[str, np.ndarray], here: dict[str, np.ndarray]) -> None:
    """Every tensor has the same name, type, shape and bytes."""
    assert sorted(there) == sorted(here)
    for name, tensor in there.items():
        assert (here[name].dtype, here[name].shape) == (tensor.dtype, tensor.shape), name
        assert here[name].tobytes() == tensor.tobytes(), name


def change_json(path: Path, **fields: object) -> None:
    """Sets fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
