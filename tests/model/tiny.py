"""Tiny models and batches for the tests of this room."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from flanmix.model.api import Compute
from flanmix.model.decoder import DecoderConfig
from flanmix.model.t5 import T5Config

VOCABULARY = 128

# Two examples in the first row and padding after them, one in the second, none in the third. (The
# tests share configurations and shapes where they can, because a shape costs a compilation.)
T5_PACKED = [[(5, 3), (4, 4)], [(9, 6)], []]
DECODER_PACKED = [[6, 4], [9], []]


def t5_config(**changes) -> T5Config:
    base = dict(vocab_size=VOCABULARY, d_model=16, d_ff=32, num_heads=4, head_dim=8)
    return T5Config(**{**base, "num_encoder_layers": 2, "num_decoder_layers": 2, **changes})


def decoder_config(**changes) -> DecoderConfig:
    base = dict(vocab_size=VOCABULARY, d_model=16, d_ff=32, num_heads=4, num_kv_heads=2)
    return DecoderConfig(**{**base, "head_dim": 8, "num_layers": 2, **changes})


def abstract_model(config, compute=Compute()):  # noqa: B008
    return jax.eval_shape(lambda rng: config.init(rng, compute), jax.random.key(0))


@functools.cache
def model_of(config, compute=Compute()):  # noqa: B008
    """A model with drawn parameters, norms and biases too; without the compilation of `init`."""
    generator = np.random.default_rng(0)

    def draw(path, leaf):
        noise = generator.normal(size=leaf.shape).astype(np.float32)
        name = jax.tree_util.keystr(path)
        if "norm" in name or "shift" in name:
            return jnp.asarray(1 + 0.1 * noise, leaf.dtype)
        if "embedding" in name:
            return jnp.asarray(noise, leaf.dtype)
        scale = config.head_dim**-0.5 if "query" in name else 1
        return jnp.asarray(noise * scale * leaf.shape[-2] ** -0.5, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, abstract_model(config, compute))


@jax.jit
def forward(model, batch):
    return model(batch)


def loss(model, batch):
    """The mean negative log-likelihood of the targets."""
    log_probabilities = jax.nn.log_softmax(model(batch))
    targets = jax.nn.one_hot(batch["decoder_target_tokens"], VOCABULARY)
    weights = batch["decoder_loss_weights"]
    return -((log_probabilities * targets).sum(-1) * weights).sum() / weights.sum()


loss_and_gradients = jax.jit(jax.value_and_grad(loss))


def assert_trees_close(got, expected, tolerance: float = 1e-5) -> None:
    got, expected = jax.tree.leaves(got), jax.tree.leaves(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def example(length: int, salt: int) -> np.ndarray:
    return np.random.default_rng([length, salt]).integers(1, VOCABULARY, length)


def lay_out(rows: list[list[np.ndarray]], width: int):
    """Packs texts into rows: tokens, segment ids, positions."""
    tokens, segments, positions = np.zeros((3, len(rows), width), np.int32)
    for index, row in enumerate(rows):
        start = 0
        for segment, text in enumerate(row, start=1):
            here = np.s_[index, start : start + len(text)]
            tokens[here], segments[here], positions[here] = text, segment, np.arange(len(text))
            start += len(text)
    return tokens, segments, positions


def shift_right(targets: np.ndarray, positions: np.ndarray) -> np.ndarray:
    shifted = np.roll(targets, 1, axis=1)
    return np.where(positions == 0, 0, shifted).astype(np.int32)


def t5_batch(packed, widths=(9, 7)) -> dict[str, np.ndarray]:
    """Rows of examples by the lengths of inputs and targets: [[(inputs, targets)]]."""
    inputs = lay_out([[example(i, 0) for i, _ in row] for row in packed], widths[0])
    targets = lay_out([[example(t, 1) for _, t in row] for row in packed], widths[1])
    batch = {}
    for side, arrays in (("encoder", inputs), ("decoder", targets)):
        batch[f"{side}_segment_ids"], batch[f"{side}_positions"] = arrays[1:]
    batch["encoder_input_tokens"] = inputs[0]
    batch["decoder_target_tokens"] = targets[0]
    batch["decoder_input_tokens"] = shift_right(targets[0], targets[2])
    batch["decoder_loss_weights"] = (targets[1] > 0).astype(np.float32)
    return batch


def decoder_batch(packed, prefixes=None, width=12) -> dict[str, np.ndarray]:
    """Texts of the lengths in `packed` [[length]]; loss after each one's prefix."""
    prefixes = prefixes or [[length // 2 for length in row] for row in packed]
    targets, segments, positions = lay_out([[example(n, 2) for n in row] for row in packed], width)
    prefix = np.zeros_like(segments)
    for index, row in enumerate(prefixes):
        for segment, length in enumerate(row, start=1):
            prefix[index] |= (segments[index] == segment) & (positions[index] < length)
    return {
        "decoder_target_tokens": targets,
        "decoder_input_tokens": shift_right(targets, positions),
        "decoder_segment_ids": segments,
        "decoder_positions": positions,
        "decoder_prefix": prefix,
        "decoder_loss_weights": ((segments > 0) & (prefix == 0)).astype(np.float32),
    }
