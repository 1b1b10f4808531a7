"""How tokens are chosen: filters against their definitions, draws against exact probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.evaluate.sampling import (
    Sampling,
    choose,
    filtered,
    likeliest,
    logprob_of,
    penalized,
    row_keys,
    row_seeds,
)

LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -3.0, 1.5], np.float32)
DRAWS = 4000


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def expected(logits, sampling):
    """The probabilities after all filters, by sorting, in f64."""
    scores = logits.astype(np.float64) / sampling.temperature
    keep = np.ones(len(scores), bool)
    order = np.argsort(-scores)
    if sampling.top_k:
        keep[order[sampling.top_k :]] = False
    probabilities = softmax(np.where(keep, scores, -np.inf))
    before = np.cumsum(probabilities[order]) - probabilities[order]
    if sampling.top_p < 1:
        keep[order[before >= sampling.top_p]] = False
    keep &= probabilities >= sampling.min_p * probabilities.max()
    return softmax(np.where(keep, scores, -np.inf))


@jax.jit
def noise_keys(seeds):
    return row_keys(seeds, jnp.int32(3))


SETTINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.5),
    Sampling(temperature=1.3, top_k=3),
    Sampling(temperature=1.0, top_p=0.7),
    Sampling(temperature=1.0, min_p=0.3),
    Sampling(temperature=2.0, top_k=6, top_p=0.9, min_p=0.2),
]


@pytest.mark.parametrize("sampling", SETTINGS)
def test_draws_follow_the_filtered_distribution(sampling):
    seeds = row_seeds(sampling, [np.array([n]) for n in range(DRAWS)], [0] * DRAWS)
    logits = jnp.broadcast_to(LOGITS, (DRAWS, len(LOGITS)))
    drawn = np.asarray(choose(logits, None, noise_keys(seeds), sampling))
    probabilities = expected(LOGITS, sampling)
    counts = np.bincount(drawn, minlength=len(LOGITS))
    assert not counts[probabilities == 0].any()
    left = probabilities > 0
    wanted = DRAWS * probabilities[left]
    chi_square = ((counts[left] - wanted) ** 2 / wanted).sum()
    # Its 99.9th percentile is below 3 times the degrees of freedom and 11 more.
    assert chi_square < 11 + 3 * (left.sum() - 1)


@pytest.mark.parametrize("sampling", SETTINGS)
def test_filters_leave_what_their_definitions_leave(sampling):
    logits = np.random.default_rng(0).normal(0, 3, (50, 97)).astype(np.float32)
    left = np.isfinite(np.asarray(filtered(logits, sampling)))
    for row, own in zip(logits, left, strict=True):
        np.testing.assert_array_equal(own, expected(row, sampling) > 0)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=5.0, top_k=1),
        Sampling(temperature=5.0, top_p=1e-6),
        Sampling(temperature=5.0, min_p=1.0),
        Sampling(temperature=1e-6),
    ],
)
def test_what_leaves_one_token_is_greedy(sampling):
    logits = np.random.default_rng(1).normal(size=(40, 33)).astype(np.float32)
    seeds = row_seeds(sampling, [np.array([n]) for n in range(40)], [0] * 40)
    chosen = choose(jnp.asarray(logits), None, noise_keys(seeds), sampling)
    np.testing.assert_array_equal(chosen, logits.argmax(-1))


def test_the_likeliest_is_the_first_of_equals():
    scores = jnp.array([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -0.5]])
    assert likeliest(scores).tolist() == [1, 0, 2]


def test_repetition_is_penalized_by_division_and_multiplication():
    logits = jnp.array([[2.0, -2.0, 1.5, 0.0]])
    assert penalized(logits, 2.0).tolist() == [[1.0, -4.0, 0.75, 0.0]]
    seen = jnp.array([[True, False, False, False]])
    assert choose(logits, seen, None, Sampling(repetition_penalty=2.0)).tolist() == [2]
    assert choose(logits, ~seen, None, Sampling(repetition_penalty=2.0)).tolist() == [0]


def test_log_probabilities_are_the_models_own():
    found = logprob_of(jnp.asarray(LOGITS[None]), jnp.array([7]))
    np.testing.assert_allclose(found, np.log(softmax(LOGITS))[7], rtol=1e-5)


def test_randomness_is_of_seed_prompt_sample_and_step_alone():
    prompts = [np.array([5, 6]), np.array([5]), np.array([5, 6])]
    one = row_seeds(Sampling(temperature=1.0), prompts, [0, 0, 1])
    other = row_seeds(Sampling(temperature=1.0, seed=1), prompts, [0, 0, 1])
    rows = {tuple(map(int, row)) for row in [*one, *other]}
    assert len(rows) == 6
    again = row_seeds(Sampling(temperature=1.0), prompts[::-1], [0, 0, 0])
    np.testing.assert_array_equal(again[[0, 1]], one[[0, 1]])
    keys = [row_keys(jnp.asarray(one), jnp.int32(step)) for step in range(3)]
    assert len({np.asarray(jax.random.key_data(key))[0].tobytes() for key in keys}) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0: must not be negative"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p is 0.0: must be in"),
        ({"temperature": 1.0, "min_p": 1.5}, "min_p is 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0: must be more than 0"),
        ({"top_k": 5}, "top_k is 5: must come with a temperature"),
        ({"samples": 2}, "samples is 2: must come with a temperature"),
        ({"beams": 2, "samples": 3}, "samples is 3: must not be more than beams, 2"),
        ({"beams": 2, "temperature": 1.0}, "temperature is 1.0: beams have none"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"stop": ("",)}, "stop is ''"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0: must be at least 1"),
    ],
)
def test_settings_without_effect_or_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"Sampling.{message}"):
        Sampling(**settings)
