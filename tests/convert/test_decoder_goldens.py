"""Decoders of every family, read from their `config.json` and tensors, give transformers' logits.

The files come from scripts/make_decoder_goldens.py; their texts are longer than the windows and
than the lengths that scaled rotations were trained on.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flanmix.convert.families  # noqa: F401  # registers them
from flanmix.convert.family import family_of
from flanmix.convert.loading import read_params
from flanmix.model.api import KERNELS, Compute
from flanmix.model.params import merge, split
from tests.convert.tensors import DictSource
from tests.model.tiny import abstract_model, forward, lay_out

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "decoders"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.npz"))


@functools.cache
def read(name: str):
    """A golden's arrays, its configuration, and its tensors by name."""
    golden = dict(np.load(GOLDEN / f"{name}.npz"))
    shapes = {n: tuple(shape) for n, shape in json.loads(str(golden["shapes"])).items()}
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(golden["weights"].astype(np.float32), ends[:-1])
    tensors = {n: p.reshape(shapes[n]) for n, p in zip(shapes, parts, strict=True)}
    return golden, json.loads(str(golden["config"])), tensors


def model_of(name: str, compute: Compute):
    _, foreign, tensors = read(name)
    family = family_of(foreign)
    config = family.config(foreign)
    source = DictSource({n: t.shape for n, t in tensors.items()}, tensors)
    graph, _, _ = split(abstract_model(config, compute))
    return merge(graph, read_params(family, config, source, compute))


def texts(tokens, lengths):
    return [row[:length] for row, length in zip(tokens, lengths, strict=True)]


def batch_of(rows, width):
    tokens, segments, positions = lay_out(rows, width)
    names = ("decoder_input_tokens", "decoder_segment_ids", "decoder_positions")
    return dict(zip(names, (tokens, segments, positions), strict=True))


def test_every_decoder_has_a_golden():
    types = {read(name)[1]["model_type"] for name in NAMES}
    assert types == {"llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"}


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name, kernels):
    """Of examples that are padded on the right, and of two and one packed into rows."""
    golden, _, _ = read(name)
    model = model_of(name, Compute(kernels=kernels))
    examples = texts(golden["tokens"], golden["lengths"])
    rows = [[example] for example in examples] + [examples[:2], examples[2:]]
    batch = batch_of(rows, len(examples[0]) + len(examples[1]) + 3)
    logits = np.asarray(forward(model, batch))
    for part in (slice(0, 3), slice(3, 5)):
        found = logits[part][batch["decoder_segment_ids"][part] > 0]
        np.testing.assert_allclose(found, golden["logits"], atol=1e-4)


@functools.partial(jax.jit, static_argnums=2)
def greedy(model, batch, count):
    logits, cache = model.prefill(batch, count)

    def step(carry, _):
        logits, cache = carry
        tokens = logits.argmax(-1)
        return model.decode_step(cache, tokens), tokens

    return jnp.stack(jax.lax.scan(step, (logits, cache), length=count)[1], axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_greedy_tokens_are_those_of_transformers(name):
    golden, _, _ = read(name)
    prompts = texts(golden["prompts"], golden["prompt_lengths"])
    batch = batch_of([[prompt] for prompt in prompts], max(map(len, prompts)))
    found = greedy(model_of(name, Compute()), batch, golden["greedy"].shape[1])
    np.testing.assert_array_equal(found, golden["greedy"])
