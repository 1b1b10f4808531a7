"""`flanmix convert`: weights and tokenizers of others in and out.

    flanmix convert from-hf smollm2 model            # a Hugging Face folder -> a checkpoint
    flanmix convert from-gguf model.gguf model       # GGUF, dequantized
    flanmix convert from-t5x checkpoint_1000 model   # T5X, in either layout
    flanmix convert to-hf runs/a tuned               # a run's newest checkpoint -> a folder
    flanmix generate --checkpoint model --prompt "..."

A checkpoint that is made here holds parameters, configuration and tokenizer, and goes wherever one
of a run's goes. What is written is there whole, or not at all.
"""

import argparse
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flanmix.console import print_json, say, warn
from flanmix.convert.folder import Pretrained, open_pretrained, pretrained_of
from flanmix.convert.writing import stored_dtype, write_folder
from flanmix.data.vocabulary import Vocabulary, load_vocabulary
from flanmix.errors import UserError
from flanmix.learn.checkpoint import describe_model, open_checkpoint, recorded_model
from flanmix.learn.checkpoint_writer import save_params
from flanmix.model.api import Compute
from flanmix.model.sharding import make_mesh
from flanmix.train.initial import check_rows, inherited_from
from flanmix.train.run_record import vocabulary_digest
from flanmix.train.trained import trained_vocabulary
from flanmix.verbs.old_runs import upgraded_record


def main(args: argparse.Namespace) -> int:
    """Runs the verb: converts, and says where the output lies.

    Raises:
        UserError: the source can't be read or made here, or the destination is there already.
    """
    source, destination = args.source, Path(args.destination).expanduser()
    _check_new(destination)
    devices = jax.local_device_count()
    with jax.set_mesh(make_mesh(fsdp=devices, devices=jax.local_devices())):
        parameters = DIRECTIONS[args.direction](source, destination, args)
    if args.json:
        document = {"source": str(source), "destination": str(destination)}
        print_json({"parameters": parameters, **document})
    else:
        print(f"{parameters:,} parameters: {destination}")
    return 0


def _check_new(destination: Path) -> None:
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UserError(f"{destination} is there already: name a new folder")


# ---- in ----------------------------------------------------------------------------------------


def _from_hf(source: str, destination: Path, args: argparse.Namespace) -> int:
    found = open_pretrained(source)
    return _keep(found, _tokenizer_of(found.folder), destination, args.dtype or "float32")


def _from_gguf(source: str, destination: Path, args: argparse.Namespace) -> int:
    from flanmix.convert.gguf import open_gguf

    config, tensors, write_tokenizer = open_gguf(Path(source).expanduser())
    return _keep_made(config, tensors, write_tokenizer, destination, args.dtype or "float32")


def _from_t5x(source: str, destination: Path, args: argparse.Namespace) -> int:
    from flanmix.convert.t5x import open_t5x

    config, tensors = open_t5x(Path(source).expanduser())
    gated = config["feed_forward_proj"].startswith("gated-")
    if args.activation and not gated:
        raise UserError("--activation is of a gated MLP, and this model's is not gated")
    if gated:
        config["feed_forward_proj"] = f"gated-{args.activation or 'gelu'}"
        if args.activation is None:
            say("its MLP is gated by gelu, if by nothing else: UL2's takes --activation silu")
    found = pretrained_of({"config": config}, tensors, None)
    vocabulary = load_vocabulary(args.vocabulary) if args.vocabulary else None
    if vocabulary is None:
        warn("T5X has no tokenizer beside its weights: give it with --vocabulary FOLDER or FILE")
    return _keep(found, vocabulary, destination, args.dtype or "float32")


def _keep_made(
    config: Mapping[str, Any],
    tensors: Any,
    write_tokenizer: Callable[[Path], None],
    destination: Path,
    dtype: str,
) -> int:
    """Keeps a model whose tokenizer's files are first made."""
    made = destination.with_name(f".{destination.name}.tokenizer")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        write_tokenizer(made)
        vocabulary = load_vocabulary(str(made))
        return _keep(
            pretrained_of({"config": config}, tensors, made), vocabulary, destination, dtype
        )
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _tokenizer_of(folder: Path | None) -> Vocabulary | None:
    try:
        return load_vocabulary(str(folder))
    except UserError as error:
        if "holds no tokenizer" not in str(error):
            raise
        warn(f"{error}: whoever uses the checkpoint has to name a VOCABULARY")
        return None


def _keep(found: Pretrained, vocabulary: Vocabulary | None, destination: Path, dtype: str) -> int:
    """Writes the checkpoint; returns how many parameters it has."""
    if vocabulary is not None:
        check_rows(vocabulary, found.config, found.source.place)
    params = found.params(Compute(param_dtype=dtype))
    run = {"model": describe_model(found.config), **inherited_from(found)}
    if vocabulary is not None:
        run["vocabulary"] = found.source.place
        run["data"] = {"vocabulary": vocabulary_digest(vocabulary)}
    destination.parent.mkdir(parents=True, exist_ok=True)
    files = {} if vocabulary is None else vocabulary.files()
    save_params(destination, params, run, tokenizer=files)
    return _count(params)


def _count(params: Any) -> int:
    return sum(int(np.prod(leaf.shape, dtype=np.int64)) for leaf in jax.tree.leaves(params))


# ---- out ---------------------------------------------------------------------------------------


def _to_hf(source: str, destination: Path, args: argparse.Namespace) -> int:
    opened = open_checkpoint(source, upgrade=upgraded_record)
    foreign = opened.run.get("foreign", {})
    files = {
        name: content if isinstance(content, bytes) else content.read_bytes()
        for name, content in trained_vocabulary(opened).files().items()
    }
    write_folder(
        destination,
        opened.params,
        recorded_model(opened.run),
        foreign,
        files,
        dtype=args.dtype or stored_dtype(foreign),
        shard_bytes=args.shard_size,
    )
    return _count(opened.params)


DIRECTIONS: Mapping[str, Callable[[str, Path, argparse.Namespace], int]] = {
    "from-hf": _from_hf,
    "to-hf": _to_hf,
    "from-gguf": _from_gguf,
    "from-t5x": _from_t5x,
}
