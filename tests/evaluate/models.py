"""Tiny models of the three architectures, and examples of random ids."""

import functools
from collections.abc import Sequence

import jax
import numpy as np

from flanmix.data.tokens import Example, Lengths
from flanmix.model.decoder import DecoderConfig
from flanmix.model.t5 import T5Config

VOCABULARY = 32
EOS = 1
ARCHITECTURES = ("encoder_decoder", "causal", "prefix")


@functools.cache
def tiny_model(architecture: str, vocab_size: int = VOCABULARY):
    """A random model whose logits are far apart, so that no two options tie."""
    small = dict(vocab_size=vocab_size, d_model=16, d_ff=32, num_heads=2, head_dim=8)
    if architecture == "encoder_decoder":
        config = T5Config(**small, num_encoder_layers=2, num_decoder_layers=2, dropout_rate=0.0)
    else:
        config = DecoderConfig(
            **small, num_kv_heads=1, num_layers=2, prefix=architecture == "prefix"
        )
    return jax.jit(config.init)(jax.random.key(3))


@jax.jit
def forward(model, batch):
    """Logits of a batch, compiled once for each shape."""
    return model(batch)


def spread(model):
    """The model on the mesh that is set, with the same weights."""
    placed = jax.jit(model.config.init)(jax.random.key(0))
    return jax.tree.map(
        lambda new, old: jax.device_put(np.asarray(old), new.sharding), placed, model
    )


def example(inputs: Sequence[int], targets: Sequence[int], lengths: Lengths) -> Example:
    """An example of ids without EOS, as training has it."""
    tail = [EOS] if lengths.two_sided else []
    weights = np.ones(len(targets) + 1, np.float32)
    inputs, targets = [*inputs, *tail], [*targets, EOS]
    return Example(np.array(inputs, np.int32), np.array(targets, np.int32), weights)


def random_ids(rng: np.random.Generator, shortest: int, longest: int) -> list[int]:
    """Ids that are neither padding nor EOS."""
    return rng.integers(3, VOCABULARY, rng.integers(shortest, longest + 1)).tolist()
