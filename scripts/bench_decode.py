"""Compares greedy generation with `transformers.generate` on torch: the same weights and prompts.

    python scripts/bench_decode.py --peer_python OTHER/bin/python [--smollm2 FOLDER]

The peer runs under a Python that has torch and transformers, which flanmix never needs. Both sides
decode 64 new tokens for 16 prompts of 128, greedily, in f32, with two threads, and no token ends a
row. Our weights are written as a folder that transformers loads, and the new tokens of both sides
are compared, where the best two logits are not a tie. Each side runs in processes of its own, in
turn, `--rounds` times; the least CPU time (user and system, of all threads) of `--calls` calls
after a first one counts, since other work on the machine only adds to it. What the first call takes
more, compilation, stands apart. A ratio above 1 says that ours makes more tokens a CPU-second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, LENGTH, NEW = 16, 128, 64
SIZES = ("t5_tiny", "decoder_256", "smollm2")
SIDES = ("flanmix", "transformers")


def config_of(name: str):
    """Returns our configuration of one of the two small models."""
    from flanmix.model.decoder import DecoderConfig
    from flanmix.model.t5 import T5Config

    if name == "t5_tiny":  # as in scripts/bench_step.py
        return T5Config(
            vocab_size=1024,
            d_model=128,
            d_ff=256,
            num_heads=4,
            head_dim=32,
            num_encoder_layers=2,
            num_decoder_layers=2,
            dropout_rate=0.0,
        )
    return DecoderConfig(
        vocab_size=2048,
        d_model=256,
        d_ff=704,
        num_heads=4,
        num_kv_heads=2,
        head_dim=64,
        num_layers=4,
        tied_head=True,
    )


def prompts_of(vocab_size: int):
    """Returns the prompts [ROWS, LENGTH]: random ids, but none of the first few."""
    import numpy as np

    return np.random.default_rng(0).integers(100, vocab_size, (ROWS, LENGTH)).astype(np.int32)


class Tensors:
    """The tensors of a safetensors folder, as `flanmix.convert.source` has them."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self.place = str(folder)
        files = [safe_open(path, "numpy") for path in sorted(folder.glob("*.safetensors"))]
        self.files = {name: file for file in files for name in file.keys()}  # noqa: SIM118
        self.shapes = {n: tuple(f.get_slice(n).get_shape()) for n, f in self.files.items()}

    def read(self, name: str, index):
        """Returns a part of a tensor."""
        return self.files[name].get_slice(name)[index]


def write_folder(name: str, folder: Path) -> None:
    """Writes one of the small models, with random weights, as a folder of transformers'."""
    import jax
    import numpy as np
    from safetensors.numpy import save_file

    import flanmix.convert.families.llama
    import flanmix.convert.families.t5  # noqa: F401
    from flanmix.convert.family import FAMILIES
    from flanmix.model.params import split

    config = config_of(name)
    family = FAMILIES["T5" if name == "t5_tiny" else "Llama"]
    params = split(jax.jit(config.init)(jax.random.key(0)))[1]
    found = {}
    for tensor in family.tensors(config):
        leaf = params
        for part in tensor.path.split("/"):
            leaf = leaf[part]
        whole = np.asarray(leaf)
        for own, matrix in zip(tensor.names, whole if tensor.stacked else [whole], strict=True):
            found[own] = np.ascontiguousarray(matrix.T if tensor.transposed else matrix)
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    foreign = family.foreign_config(config) | {"torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(foreign))


def flanmix_call(folder: Path):
    """Returns a function that decodes the prompts, and the prompts."""
    import jax
    import numpy as np

    import flanmix.convert.families.llama
    import flanmix.convert.families.t5  # noqa: F401
    from flanmix.convert.family import family_of
    from flanmix.convert.loading import read_params
    from flanmix.evaluate.decode import Decoding, generate
    from flanmix.model.api import Compute
    from flanmix.model.params import merge, split

    foreign = json.loads((folder / "config.json").read_text())
    family = family_of(foreign)
    config, compute = family.config(foreign), Compute()
    params = read_params(family, config, Tensors(folder), compute)
    graph = split(jax.eval_shape(lambda rng: config.init(rng, compute), jax.random.key(0)))[0]
    model = merge(graph, params)
    prompts = list(prompts_of(config.vocab_size))
    options = dict(max_length=LENGTH, max_new_tokens=NEW, batch_size=ROWS, end_ids=())
    options |= dict(start_id=None)
    decoding = Decoding(model, **options)

    def run():
        return np.stack([answer[0].ids for answer in generate(decoding, prompts)]).tolist()

    return run


def transformers_call(folder: Path):
    """Returns a function that decodes the prompts, and the prompts."""
    import torch
    import transformers

    torch.set_num_threads(2)
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = transformers.AutoModelForCausalLM
    if config.is_encoder_decoder:
        kind = transformers.AutoModelForSeq2SeqLM
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    ids = prompts_of(config.vocab_size)
    ids = torch.tensor(ids, dtype=torch.int64)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0

    def run():
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            found = model.generate(
                ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW, eos_token_id=None
            )
        return found[:, -NEW:].tolist()

    return run


def measure(side: str, folder: Path, calls: int) -> dict:
    """Runs one side in this process: CPU and wall seconds of a call, and of the first one."""
    run = {"flanmix": flanmix_call, "transformers": transformers_call}[side](folder)
    found = []
    for _ in range(calls + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = run()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = (min(column[1:]) for column in zip(*found, strict=True))
    return dict(cpu=cpu, wall=wall, first=found[0][1] - wall, tokens=tokens)


def compare(name: str, folder: Path, peer_python: str, rounds: int, calls: int) -> float:
    """Prints both sides of one model; returns how many times the tokens a CPU-second ours makes."""
    best: dict[str, dict] = {}
    for _ in range(rounds):
        for side in SIDES:
            python = sys.executable if side == "flanmix" else peer_python
            flags = ["--side", side, "--folder", str(folder), "--calls", str(calls)]
            out = subprocess.run(
                [python, __file__, *flags],
                env={**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "2"},
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
            found = json.loads(out.splitlines()[-1])
            before = best.setdefault(side, found)
            best[side] = found | {k: min(found[k], before[k]) for k in ("cpu", "wall", "first")}
    made = ROWS * NEW
    print(f"{name}: {ROWS} prompts of {LENGTH}, {NEW} new tokens each, f32, greedy")
    for side, found in best.items():
        print(
            f"  {side:12} {made / found['cpu']:8.0f} tokens a CPU-s {made / found['wall']:8.0f}"
            f" tokens/s {found['first']:8.1f} s more in the first call"
        )
    ours, theirs = (best[side]["tokens"] for side in SIDES)
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    ratio = best["transformers"]["cpu"] / best["flanmix"]["cpu"]
    print(f"  ratio        {ratio:8.2f} in CPU; {equal} of {ROWS} rows are the same tokens")
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer_python", help="a Python that has torch and transformers")
    parser.add_argument("--smollm2", metavar="FOLDER", help="SmolLM2-135M, as safetensors")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=4, help="timed calls of a process")
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args.side, args.folder, args.calls)))
        return
    for name in args.sizes:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            if name == "smollm2":
                if args.smollm2 is None:
                    print("smollm2: not measured, since --smollm2 names no folder")
                    continue
                folder = Path(args.smollm2)
            else:
                write_folder(name, folder)
            compare(name, folder, args.peer_python, args.rounds, args.calls)


if __name__ == "__main__":
    main()
