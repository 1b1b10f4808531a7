"""Option scores in packed rows are those of every option by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.data.packing import pack_row
from flanmix.data.tokens import Lengths
from flanmix.evaluate import rank as rank_module
from flanmix.evaluate.rank import rank, target_log_likelihoods
from flanmix.model.sharding import make_mesh
from tests.evaluate.models import ARCHITECTURES, example, forward, random_ids, spread, tiny_model


def lengths_of(architecture):
    return Lengths(24, 12, architecture)


def questions_of(architecture, seed=0, count=9):
    rng = np.random.default_rng(seed)
    lengths = lengths_of(architecture)
    questions = []
    for _ in range(count):
        inputs = random_ids(rng, 0, 23)
        options = [random_ids(rng, 1, 7) for _ in range(rng.integers(2, 5))]
        questions.append(tuple(example(inputs, option, lengths) for option in options))
    return questions


def alone(model, option, lengths, start_id=0):
    """The score of one option, in a row of its own."""
    row = pack_row([option], lengths, start_id)
    logits = forward(model, {name: jnp.asarray(x)[None] for name, x in row.items()})[0]
    start = 0 if lengths.two_sided else len(option.inputs) - (start_id is None)
    likelihood = np.asarray(jax.nn.log_softmax(logits))
    return sum(likelihood[start + i, t] for i, t in enumerate(option.targets) if start + i >= 0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_options_score_as_alone(architecture):
    model, lengths = tiny_model(architecture), lengths_of(architecture)
    questions = questions_of(architecture)
    scores = rank(model, questions, lengths=lengths, batch_size=4)
    for question, score in zip(questions, scores, strict=True):
        expected = [alone(model, option, lengths) for option in question]
        assert score.sums == pytest.approx(expected, abs=1e-4)
        assert score.lengths.tolist() == [len(option.targets) for option in question]
        assert score.best == int(np.argmax(expected))


@pytest.mark.parametrize("architecture", ["causal", "prefix"])
def test_without_a_start_token_packed_options_score_as_alone(architecture):
    """The model is asked `inputs option` and nothing before it; a first token is not predicted."""
    model, lengths = tiny_model(architecture), lengths_of(architecture)
    questions = questions_of(architecture, seed=4)
    nothing = tuple(example([], option, lengths) for option in ([5, 6], [7]))
    scores = rank(model, [nothing, *questions], lengths=lengths, batch_size=4, start_id=None)
    for question, score in zip([nothing, *questions], scores, strict=True):
        expected = [alone(model, option, lengths, None) for option in question]
        assert score.sums == pytest.approx(expected, abs=1e-4)
        read = len(question[0].inputs) == 0
        assert score.lengths.tolist() == [len(option.targets) - read for option in question]
    # The same logits as the plain forward pass over inputs and option.
    option = questions[0][0]
    ids = np.concatenate([option.inputs, option.targets])[None].astype(np.int32)
    plain = {
        "decoder_input_tokens": ids,
        "decoder_segment_ids": np.ones_like(ids),
        "decoder_positions": np.arange(ids.shape[1], dtype=np.int32)[None],
        "decoder_prefix": (np.arange(ids.shape[1]) < len(option.inputs))[None].astype(np.int32),
    }
    likelihood = np.asarray(jax.nn.log_softmax(forward(model, jax.tree.map(jnp.asarray, plain))[0]))
    at = np.arange(max(1, len(option.inputs)), ids.shape[1])
    assert scores[1].sums[0] == pytest.approx(likelihood[at - 1, ids[0, at]].sum(), abs=1e-4)


@pytest.mark.parametrize("architecture", ["encoder_decoder", "causal"])
def test_the_batch_size_and_the_company_change_nothing(architecture):
    model, lengths = tiny_model(architecture), lengths_of(architecture)
    questions = questions_of(architecture, seed=1)
    first = rank(model, questions, lengths=lengths, batch_size=1)
    other = rank(model, questions[::-1], lengths=lengths, batch_size=4)[::-1]
    for a, b in zip(first, other, strict=True):
        assert a.sums == pytest.approx(b.sums, abs=1e-5)


def test_rows_are_shared_and_padding_is_never_scored(monkeypatch):
    lengths = lengths_of("encoder_decoder")
    questions = [
        tuple(example([5, 6, 7], option, lengths) for option in ([8], [9, 10])) for _ in range(4)
    ]
    seen = []

    def one_nat(model, batch):
        seen.append(batch)
        return np.where(batch["decoder_segment_ids"] > 0, -1.0, np.nan)

    monkeypatch.setattr(rank_module, "target_log_likelihoods", one_nat)
    scores = rank(tiny_model("encoder_decoder"), questions, lengths=lengths, batch_size=2)
    assert [score.sums.tolist() for score in scores] == [[-2.0, -3.0]] * 4
    (batch,) = seen
    assert batch["decoder_segment_ids"][0].tolist() == [1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 0, 0]
    assert batch["decoder_source_ids"][0].tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0]
    assert batch["decoder_input_tokens"][0].tolist() == [0, 8, 0, 9, 10, 0, 8, 0, 9, 10, 0, 0]
    assert batch["decoder_positions"][0].tolist() == [0, 1, 0, 1, 2, 0, 1, 0, 1, 2, 0, 0]


def test_one_function_is_compiled_for_all_questions():
    model, lengths = tiny_model("encoder_decoder"), lengths_of("encoder_decoder")
    rank(model, questions_of("encoder_decoder", seed=2, count=3), lengths=lengths, batch_size=4)
    before = target_log_likelihoods._cache_size()
    for seed in range(3, 6):
        questions = questions_of("encoder_decoder", seed, count=2 * seed)
        rank(model, questions, lengths=lengths, batch_size=4)
    assert target_log_likelihoods._cache_size() == before
    assert rank(model, [], lengths=lengths, batch_size=4) == []


def test_summed_and_normalized_choices_differ_by_length():
    score = rank_module.OptionScores(np.array([-3.0, -4.0]), np.array([1, 4]))
    assert (score.best, score.best_normalized) == (0, 1)


@pytest.mark.multidevice
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_eight_devices_rank_as_one(architecture):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    lengths, questions = lengths_of(architecture), questions_of(architecture)
    single = tiny_model(architecture)
    expected = rank(single, questions, lengths=lengths, batch_size=8)
    with jax.set_mesh(make_mesh(data=2, fsdp=2, tensor=2)):
        scores = rank(spread(single), questions, lengths=lengths, batch_size=8)
    for a, b in zip(scores, expected, strict=True):
        assert a.sums == pytest.approx(b.sums, abs=1e-5)
