"""Measures the host memory that reading a pretrained model of a billion parameters takes.

    python scripts/bench_import.py [--dtype float32] [--folder DIR]

Writes a folder of Llama 3.2 1B's shape (zeros, bf16, in shards), reads it in a process of its own
as `convert from-hf` and a run's INITIALIZE_FROM do, and prints that process's greatest resident
memory beside the bytes of the arrays themselves, which on a CPU lie in the same memory. What is
over must stay below `--limit`; if it does not, the exit code is 1. Resident memory counts Python,
JAX and the mapped part of the file too.
"""

import argparse
import json
import resource
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

GB = 1e9
CONFIG = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_hidden_layers": 16,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
}
CHUNK = bytes(1 << 20)


def write_model(folder: Path, shards: int = 2) -> None:
    """Writes configuration and zeros, a chunk at a time."""
    shapes = tensor_shapes()
    files = {}
    for number in range(shards):
        name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {tensor: shapes[tensor] for tensor in list(shapes)[number::shards]}
        write_zeros(folder / name, part)
        files |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(CONFIG))


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor of the model, as the folder has it."""
    from flanmix.convert.folder import pretrained_of
    from flanmix.convert.loading import abstract_params
    from flanmix.model.api import Compute

    class Nothing:
        place, shapes = "nowhere", {}

    found = pretrained_of({"config": CONFIG}, Nothing(), None)  # pyrefly: ignore
    ours = flat(abstract_params(found.config, Compute()))
    shapes = {}
    for tensor in found.family.tensors(found.config):
        shape = ours[tensor.path].shape[1 if tensor.stacked else 0 :]
        shapes |= dict.fromkeys(tensor.names, shape[::-1] if tensor.transposed else shape)
    return shapes


def flat(params) -> dict:
    """Returns the leaves by path."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def write_zeros(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Writes a safetensors file of bf16 zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for left in range(end, 0, -len(CHUNK)):
            file.write(CHUNK[:left])


def read(folder: Path, dtype: str) -> None:
    """Reads the folder, and prints what it took."""
    import jax

    from flanmix.convert.folder import open_pretrained
    from flanmix.model.api import Compute
    from flanmix.model.sharding import make_mesh

    with jax.set_mesh(make_mesh(devices=jax.local_devices()[:1])):
        params = open_pretrained(folder).params(Compute(param_dtype=dtype))
    jax.block_until_ready(params)
    target = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"target": target, "peak": peak}))


def main() -> int:
    """Writes, reads in a new process, and compares with the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if none")
    parser.add_argument("--limit", type=float, default=1.5, help="GB over the target arrays")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read is not None:
        read(args.read, args.dtype)
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        write_model(Path(folder))
        command = [sys.executable, __file__, "--read", folder, "--dtype", args.dtype]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    over = (found["peak"] - found["target"]) / GB
    print(
        f"{args.dtype}: arrays {found['target'] / GB:.2f} GB, greatest resident memory "
        f"{found['peak'] / GB:.2f} GB: {over:.2f} GB over (limit {args.limit})"
    )
    return int(over > args.limit)


if __name__ == "__main__":
    sys.exit(main())
