"""Beam search: exact where beams are enough for all texts, and greedy with one beam."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.evaluate.beam import beam_search, penalty
from flanmix.evaluate.decode import Decoding, generate, prompt_rows
from flanmix.evaluate.sampling import Sampling
from flanmix.model.sharding import make_mesh
from tests.evaluate.models import EOS, random_ids, spread, tiny_model

SMALL, LENGTH = 6, 3  # a vocabulary and a length whose texts can all be listed


def prompts_of(count=4, low=3):
    rng = np.random.default_rng(2)
    return [np.array(rng.integers(low, SMALL, n), np.int32) for n in (5, 8, 7, 6)[:count]]


def all_texts(end_ids):
    """All texts of a small vocabulary: ended by an end token, or of the greatest length."""
    for length in range(1, LENGTH + 1):
        for text in itertools.product(range(SMALL), repeat=length):
            ends = [token in end_ids for token in text]
            if not any(ends[:-1]) and (ends[-1] or length == LENGTH):
                yield text


def logprobs_of(model, prompt, architecture, texts):
    """The log-probability of each text, token by token through `decode_step`."""
    rows = prompt_rows([prompt] * len(texts), 9, architecture, 0)
    logits, cache = prefill(model, {name: jnp.asarray(x) for name, x in rows.items()})
    padded = np.array([[*text, *[0] * (LENGTH - len(text))] for text in texts], np.int32)
    total = np.zeros(len(texts))
    for step in range(LENGTH):
        own = np.asarray(jax.nn.log_softmax(logits))[np.arange(len(texts)), padded[:, step]]
        total += np.where([step < len(text) for text in texts], own, 0)
        logits, cache = step_of(model, cache, padded[:, step])
    return total


prefill = jax.jit(lambda model, rows: model.prefill(rows, LENGTH + 1))
step_of = jax.jit(lambda model, cache, tokens: model.decode_step(cache, tokens))


@pytest.mark.parametrize(
    ("architecture", "alpha", "end_ids"),
    [
        ("encoder_decoder", 0.6, (EOS,)),
        ("causal", 4.0, (EOS, 4)),
    ],
)
def test_enough_beams_find_the_best_of_all_texts(architecture, alpha, end_ids):
    model = tiny_model(architecture, SMALL)
    (prompt,) = prompts_of(1)
    texts = list(all_texts(end_ids))
    logprobs = logprobs_of(model, prompt, architecture, texts)
    scores = logprobs / ((5 + np.array([len(text) for text in texts])) / 6) ** alpha
    best = np.argsort(-scores)[:5]
    sampling = Sampling(beams=SMALL ** (LENGTH - 1), length_penalty=alpha, samples=5)
    decoding = Decoding(model, 8, LENGTH, 1, end_ids, sampling=sampling, scored=True)
    (found,) = generate(decoding, [prompt])
    assert [tuple(own.ids.tolist()) for own in found] == [texts[i] for i in best]
    np.testing.assert_allclose([own.logprob for own in found], logprobs[best], atol=1e-4)


def test_one_beam_is_greedy():
    model, prompts = tiny_model("causal"), prompts_of()
    plain = Decoding(model, 8, 6, 4, (EOS,))
    batch, live = plain.batch(prompts, 4)
    ends = plain.ends
    found = beam_search(model, batch, live, ends, beams=1, max_new_tokens=6, length_penalty=0.6)
    for row, (greedy,) in enumerate(generate(plain, prompts)):
        ids = greedy.ids.tolist()
        assert found.tokens[row, 0].tolist() == ids + [0] * (6 - len(ids))


def test_a_prompts_beams_do_not_depend_on_its_neighbours():
    model, prompts = tiny_model("causal"), prompts_of()
    sampling = Sampling(beams=3, samples=3)

    def found(prompts, batch_size):
        answers = generate(Decoding(model, 8, 5, batch_size, (EOS,), sampling=sampling), prompts)
        return [[own.ids.tolist() for own in answer] for answer in answers]

    together = found(prompts, 12)
    assert together == [found([prompt], 1)[0] for prompt in prompts]
    assert together == found(prompts, 4)
    assert all(len({tuple(ids) for ids in answer}) == 3 for answer in together)


def test_the_penalty_is_that_of_t5x():
    np.testing.assert_allclose(penalty(jnp.array([1, 7]), 0.6), [1.0, 2.0**0.6], rtol=1e-6)


@pytest.mark.multidevice
@pytest.mark.parametrize("architecture", ["encoder_decoder", "causal"])
def test_eight_devices_search_as_one(architecture):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    rng = np.random.default_rng(0)
    prompts = [np.array(random_ids(rng, 2, 7), np.int32) for _ in range(5)]
    sampling = Sampling(beams=2, samples=2)

    def found(model):
        answers = generate(Decoding(model, 8, 5, 8, (EOS,), sampling=sampling), prompts)
        return [[own.ids.tolist() for own in answer] for answer in answers]

    single = tiny_model(architecture)
    expected = found(single)
    with jax.set_mesh(make_mesh(data=2, fsdp=2, tensor=2)):
        assert found(spread(single)) == expected
