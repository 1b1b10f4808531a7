"""What adapters save: a train step of all parameters against one of LoRA's alone.

    python scripts/bench_lora.py                     # SmolLM2-135M's shape, random weights
    python scripts/bench_lora.py --rows 4 --length 256 --rank 8

Prints, for both, CPU-seconds of a step (the middle of several, compiled and warm), tokens a
CPU-second, and the bytes of the training state beside those of the frozen weights alone.
"""

import argparse
import time

import jax
import numpy as np

from flanmix.learn.optimizer import Adafactor
from flanmix.model.api import Compute
from flanmix.model.decoder import DecoderConfig
from flanmix.model.lora import Lora
from flanmix.train.learner import build_learner, params_of
from flanmix.train.settings import TrainConfig

SMOLLM2 = DecoderConfig(
    vocab_size=49152,
    d_model=576,
    d_ff=1536,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    num_layers=30,
    rope_theta=1e5,
    tied_head=True,
    norm_epsilon=1e-5,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    batch = batch_of(args.rows, args.length)
    rates = {}
    for name, lora in (("all parameters", None), ("LoRA", Lora(rank=args.rank))):
        seconds, state, frozen = measured(lora, batch, args.steps)
        rates[name] = args.rows * args.length / seconds
        against = f", {state / frozen:.2f} times the frozen weights" if lora else ""
        print(
            f"{name:<15} {seconds:6.2f} CPU-s a step, {rates[name]:6.0f} tokens a CPU-second, "
            f"state {state / 1e6:.0f} MB{against}"
        )
    print(f"LoRA is {rates['LoRA'] / rates['all parameters']:.2f} times as fast")


def batch_of(rows: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    tokens = rng.integers(3, 49152, (rows, length + 1)).astype(np.int32)
    ones = np.ones((rows, length), np.int32)
    return {
        "decoder_input_tokens": tokens[:, :-1],
        "decoder_target_tokens": tokens[:, 1:],
        "decoder_segment_ids": ones,
        "decoder_positions": np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
        "decoder_task_ids": 0 * ones,
        "decoder_loss_weights": ones.astype(np.float32),
    }


def measured(lora: Lora | None, batch: dict[str, np.ndarray], steps: int) -> tuple[float, int, int]:
    """CPU-seconds of a step; bytes of the state, and of the frozen weights."""
    train = TrainConfig(steps=steps, optimizer=Adafactor(), lora=lora)
    learner = build_learner(SMOLLM2, Compute(), train, num_tasks=1)
    state = learner.init()
    sizes = size(state), size(state.frozen) or size(params_of(state))
    times = []
    for _ in range(steps + 1):
        start = time.process_time()
        state, metrics = learner.step(state, batch)
        jax.block_until_ready(metrics.gradient_norm)
        times.append(time.process_time() - start)
    return float(np.median(times[1:])), *sizes


def size(tree: object) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


if __name__ == "__main__":
    main()
