"""With the same weights, the texts and beams of transformers' T5 and Llama.

The file comes from scripts/make_decoding_goldens.py.
"""

import functools
import json

import numpy as np
import pytest

from flanmix.evaluate.decode import Decoding, generate
from flanmix.evaluate.sampling import Sampling, filtered
from flanmix.model.decoder import DecoderConfig
from flanmix.model.t5 import T5Config
from tests.model.test_goldens import GOLDEN, LLAMA_NAMES, load, read, t5_names, texts

MODELS = ["t5_1_1", "llama"]


@functools.cache
def expected():
    return dict(np.load(GOLDEN / "decoding.npz"))


@functools.cache
def model_and_prompts(name):
    golden, fields = read(name)
    if name == "llama":
        model = load(DecoderConfig(**fields), golden, LLAMA_NAMES)
        return model, texts(golden["tokens"], golden["lengths"])
    model = load(T5Config(**fields), golden, t5_names(relu=False))
    return model, texts(golden["inputs"], golden["input_lengths"])


def found(name, max_new_tokens, end_ids=(), **settings):
    model, prompts = model_and_prompts(name)
    copies = settings.get("beams", 1)
    decoding = Decoding(
        model,
        40,
        max_new_tokens,
        len(prompts) * copies,
        end_ids,
        sampling=Sampling(**settings),
        scored=True,
    )
    return generate(decoding, prompts)


@pytest.mark.parametrize("name", MODELS)
def test_64_greedy_tokens(name):
    for number, (own,) in enumerate(found(name, 64)):
        np.testing.assert_array_equal(own.ids, expected()[f"{name}/greedy/{number}"])


@pytest.mark.parametrize("name", MODELS)
def test_the_penalty_of_repetition(name):
    for number, (own,) in enumerate(found(name, 12, repetition_penalty=1.5)):
        np.testing.assert_array_equal(own.ids, expected()[f"{name}/repetition/{number}"])


@pytest.mark.parametrize("name", MODELS)
def test_four_beams_with_four_end_tokens(name):
    ends = tuple(expected()["ends"].tolist())
    answers = found(name, 12, ends, beams=4, samples=4, length_penalty=0.0)
    for number, beams in enumerate(answers):
        wanted = [row[row >= 0].tolist() for row in expected()[f"{name}/beams/{number}"]]
        assert [own.ids.tolist() for own in beams] == wanted
        scores = expected()[f"{name}/scores/{number}"]
        np.testing.assert_allclose([own.logprob for own in beams], scores, atol=1e-4)


def test_filters_in_their_order():
    settings = json.loads(str(expected()["filters"]))
    left = np.asarray(filtered(expected()["logits"], Sampling(**settings)))
    np.testing.assert_allclose(left, expected()["filtered"], rtol=1e-5)
