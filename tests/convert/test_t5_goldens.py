"""Each kind of T5, read through its family, computes what transformers computes.

The files come from scripts/make_t5_goldens.py. Their three examples have unequal lengths; they are
compared as a padded batch, packed into two rows, and decoded greedily.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import flanmix.convert.families  # noqa: F401  # registers them
from flanmix.convert.family import family_of
from flanmix.convert.loading import read_params
from flanmix.model.api import Compute
from flanmix.model.params import merge, split
from tests.convert.tensors import DictSource
from tests.model.tiny import abstract_model, forward, lay_out, shift_right

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
KINDS = ["1_0", "1_1", "ul2", "byt5", "mt5", "umt5"]


@pytest.fixture(scope="module", autouse=True)
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module", params=KINDS)
def read(request):
    """The golden file of a kind, and our model with its weights."""
    golden = dict(np.load(GOLDEN / f"t5_family_{request.param}.npz"))
    foreign = json.loads(str(golden["config"]))
    family = family_of(foreign)
    config = family.config(foreign)
    weights = {
        name.removeprefix("weights/"): array.astype(np.float32)
        for name, array in golden.items()
        if name.startswith("weights/")
    }
    source = DictSource({name: array.shape for name, array in weights.items()}, weights)
    params = read_params(family, config, source, Compute())
    return golden, merge(split(abstract_model(config))[0], params)


def texts(golden, side):
    lengths = golden[f"{side}_lengths"]
    return [row[:length] for row, length in zip(golden[f"{side}s"], lengths, strict=True)]


def layouts(examples):
    """The examples one a row and padded, and packed in their order into two rows."""
    yield lay_out([[example] for example in examples], max(map(len, examples)))
    width = len(examples[0]) + len(examples[1]) + 3
    yield lay_out([examples[:2], examples[2:]], width)


def test_logits_are_theirs_padded_and_packed(read):
    golden, model = read
    inputs, targets = texts(golden, "input"), texts(golden, "target")
    rows = zip(golden["logits"], targets, strict=True)
    expected = np.concatenate([logits[: len(target)] for logits, target in rows])
    assert 0.5 < expected.std() < 2
    for encoder, decoder in zip(layouts(inputs), layouts(targets), strict=True):
        batch = {"encoder_input_tokens": encoder[0], "encoder_segment_ids": encoder[1]}
        batch["decoder_input_tokens"] = shift_right(decoder[0], decoder[2])
        batch["decoder_segment_ids"] = decoder[1]
        logits = np.asarray(forward(model, batch))[decoder[1] > 0]
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)


@jax.jit
def greedy(model, batch):
    """The 64 most likely tokens of each row, through the cache."""
    logits, cache = model.prefill(batch, 64)
    first = logits.argmax(-1)

    def step(carry, _):
        cache, tokens = carry
        logits, cache = model.decode_step(cache, tokens)
        return (cache, logits.argmax(-1)), logits.argmax(-1)

    _, others = jax.lax.scan(step, (cache, first), length=63)
    return first, others


def test_greedy_tokens_are_theirs(read):
    golden, model = read
    tokens, segments, _ = lay_out([[example] for example in texts(golden, "input")], 40)
    batch = {"encoder_input_tokens": tokens, "encoder_segment_ids": segments}
    first, others = greedy(model, batch)
    found = np.concatenate([np.asarray(first)[:, None], np.asarray(others).T], axis=1)
    np.testing.assert_array_equal(found, golden["greedy"])
