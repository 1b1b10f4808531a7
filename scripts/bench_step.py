"""Compares our training step with transformers' T5 on torch: the same sizes and optimizer.

    pip install -e .[bench] && python scripts/bench_step.py

A step is forward, backward and Adafactor, in f32, without dropout, on a batch without padding. Each
side runs in processes of its own, in turn, `--rounds` times; the least CPU time counts (user and
system, of all threads), since other work on the machine only adds to it. Peak memory is the whole
process's, compilation included. A ratio above 1 says that ours takes less.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

# batch, inputs, targets; then the shape of the model
SIZES = {
    "small": dict(
        rows=(8, 512, 128), d_model=512, d_ff=1024, heads=6, head_dim=64, layers=8, vocab=32128
    ),
    "tiny": dict(
        rows=(32, 128, 32), d_model=128, d_ff=256, heads=4, head_dim=32, layers=2, vocab=1024
    ),
}
SIDES = ("flanmix", "transformers")


def flanmix_step(size: dict):
    """Returns a function that does one step and waits for it."""
    from functools import partial

    import jax
    import numpy as np

    from flanmix.learn.loss import CrossEntropy
    from flanmix.learn.optimizer import Adafactor
    from flanmix.learn.step import new_state, train_step
    from flanmix.model.params import declarations, merge, split
    from flanmix.model.t5 import T5Config

    config = T5Config(
        vocab_size=size["vocab"],
        d_model=size["d_model"],
        d_ff=size["d_ff"],
        num_heads=size["heads"],
        head_dim=size["head_dim"],
        num_encoder_layers=size["layers"],
        num_decoder_layers=size["layers"],
        dropout_rate=0.0,
    )
    model = jax.jit(config.init)(jax.random.key(0))
    graph, params, _ = split(model)
    optimizer = Adafactor().build(declarations(model))

    def loss_fn(params, batch, rng):
        return CrossEntropy()(merge(graph, params), batch, dropout_rng=None, num_tasks=1)

    step = partial(
        train_step,
        loss_fn=loss_fn,
        optimizer=optimizer,
        schedule=lambda step: jax.numpy.float32(1e-3),
        seed=0,
    )
    step = jax.jit(step, donate_argnums=0)
    rows, inputs, targets = size["rows"]
    batch = {"row_stats": np.zeros((rows, 4), np.int32)}
    for side, length in (("encoder", inputs), ("decoder", targets)):
        drawn = np.random.default_rng(0).integers(1, size["vocab"], (rows, length))
        batch[f"{side}_input_tokens"] = drawn.astype(np.int32)
        batch[f"{side}_segment_ids"] = np.ones((rows, length), np.int32)
        batch[f"{side}_positions"] = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    batch["decoder_target_tokens"] = batch["decoder_input_tokens"]
    batch["decoder_loss_weights"] = np.ones((rows, targets), np.float32)
    batch["decoder_task_ids"] = np.zeros((rows, targets), np.int32)
    state = jax.jit(partial(new_state, optimizer=optimizer))(params)

    def run():
        nonlocal state
        state, sums = step(state, batch)
        jax.block_until_ready((state, sums))

    return run


def transformers_step(size: dict):
    """Returns a function that does one step."""
    import torch
    import transformers
    from transformers.optimization import Adafactor

    config = transformers.T5Config(
        vocab_size=size["vocab"],
        d_model=size["d_model"],
        d_ff=size["d_ff"],
        num_heads=size["heads"],
        d_kv=size["head_dim"],
        num_layers=size["layers"],
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        dropout_rate=0.0,
        use_cache=False,
        decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(config).train()
    # The library ties the head in any case; T5 1.1 has one of its own.
    model.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
    fixed = dict(relative_step=False, scale_parameter=True, warmup_init=False)
    optimizer = Adafactor(model.parameters(), lr=1e-3, **fixed)
    rows, inputs, targets = size["rows"]
    encoder = torch.randint(1, size["vocab"], (rows, inputs))
    decoder = torch.randint(1, size["vocab"], (rows, targets))

    def run():
        optimizer.zero_grad()
        model(input_ids=encoder, labels=decoder).loss.backward()
        optimizer.step()

    return run


def measure(side: str, name: str, steps: int) -> dict:
    """Runs one side in this process: CPU-s and wall seconds a step, bytes at the peak."""
    size = SIZES[name]
    run = {"flanmix": flanmix_step, "transformers": transformers_step}[side](size)
    for _ in range(2):
        run()
    found = []
    for _ in range(steps):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = (min(column) for column in zip(*found, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return dict(cpu=cpu, wall=wall, peak=peak)


def compare(name: str, rounds: int, steps: int) -> float:
    """Prints both sides of one size; returns how many times less CPU ours takes."""
    rows, inputs, targets = SIZES[name]["rows"]
    tokens = rows * (inputs + targets)
    best: dict[str, dict] = {}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side, "--size", name]
            environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
            out = subprocess.run(
                [*command, "--steps", str(steps)],
                env=environment,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
            found = json.loads(out.splitlines()[-1])
            before = best.setdefault(side, found)
            best[side] = {key: min(value, before[key]) for key, value in found.items()}
    print(f"T5 {name}: {rows} x ({inputs} + {targets}) tokens, f32")
    for side, found in best.items():
        micro = found["cpu"] / tokens * 1e6
        print(
            f"  {side:12} {micro:8.1f} CPU-us a token {found['cpu']:8.3f} CPU-s a step"
            f" {found['wall']:8.3f} s {tokens / found['wall']:8.0f} tokens/s"
            f" {found['peak'] / 1e9:6.2f} GB"
        )
    ratio = best["transformers"]["cpu"] / best["flanmix"]["cpu"]
    memory = best["transformers"]["peak"] / best["flanmix"]["peak"]
    print(f"  ratio        {ratio:8.2f} in CPU, {memory:.2f} in memory")
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a process")
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process")
    parser.add_argument("--size", choices=SIZES)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args.side, args.size, args.steps)))
        return
    for name in args.sizes:
        compare(name, args.rounds, args.steps)


if __name__ == "__main__":
    main()
