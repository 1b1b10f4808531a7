"""Bits per byte: every token is predicted once, from what comes before it in its window."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import ByteVocabulary
from flanmix.errors import UserError
from flanmix.evaluate import text_score
from flanmix.evaluate.text_score import number_of_rows, read_texts, score_text
from flanmix.model.decoder import DecoderConfig

BYTES = ByteVocabulary()
STARTLESS = dataclasses.replace(BYTES, start_id=None)
LENGTHS = Lengths(5, 3, "causal")
TEXTS = ["nine bytes and then some more", "é", "abc", "x" * 17]


def model_of(architecture="causal"):
    sizes = dict(vocab_size=384, d_model=16, d_ff=16, num_heads=2, num_kv_heads=1, head_dim=8)
    config = DecoderConfig(**sizes, num_layers=2, prefix=architecture == "prefix")
    return config.init(jax.random.key(0))


@pytest.mark.parametrize("vocabulary", [BYTES, STARTLESS])
def test_a_model_that_knows_nothing_needs_log2_of_its_vocabulary(monkeypatch, vocabulary):
    monkeypatch.setattr(
        text_score,
        "target_log_likelihoods",
        lambda model, batch: np.full(batch["decoder_segment_ids"].shape, -math.log(384)),
    )
    score = score_text(model_of(), vocabulary, LENGTHS, TEXTS, 2)
    size = sum(len(text.encode()) for text in TEXTS)
    unpredicted = len(TEXTS) if vocabulary.start_id is None else 0
    assert score.tokens == size - unpredicted
    # The first byte of "é" is no text by itself: its document counts whole.
    assert score.bytes == size - max(unpredicted - 1, 0)
    assert score.bits == pytest.approx(score.tokens * math.log2(384))
    assert score.bits_per_byte == pytest.approx(score.bits / score.bytes)


@pytest.mark.parametrize("architecture", ["causal", "prefix"])
@pytest.mark.parametrize("vocabulary", [BYTES, STARTLESS])
def test_it_is_the_sum_over_windows_scored_alone(vocabulary, architecture):
    model = model_of(architecture)
    lengths = dataclasses.replace(LENGTHS, architecture=architecture)
    bits = 0.0
    for text in TEXTS:
        start = [] if vocabulary.start_id is None else [vocabulary.start_id]
        sequence = np.array(start + vocabulary.encode(text), np.int32)
        for first in range(0, len(sequence) - 1, 8):
            window = sequence[first : first + 9]
            ones = np.ones((1, len(window) - 1), np.int32)
            batch = {
                "decoder_input_tokens": window[None, :-1],
                "decoder_segment_ids": ones,
                "decoder_positions": np.arange(len(window) - 1)[None],
                "decoder_prefix": 0 * ones,
            }
            logits = np.asarray(model(jax.tree.map(jnp.asarray, batch)), np.float64)[0]
            logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            bits -= logp[np.arange(len(window) - 1), window[1:]].sum() / math.log(2)
    for batch_size in (1, 4):
        assert score_text(model, vocabulary, lengths, TEXTS, batch_size).bits == pytest.approx(
            bits, rel=1e-5
        )


def test_rows_are_reported_and_full():
    seen = []
    score_text(model_of(), BYTES, LENGTHS, TEXTS, 2, seen.append)
    rows = number_of_rows(BYTES, LENGTHS, TEXTS)
    assert sum(seen) == -(-rows // 2) * 2
    assert rows <= sum(-(-(len(t.encode()) + 1) // 8) for t in TEXTS)


def test_documents_are_read_up_to_a_number_of_bytes(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("abcd", "", "éé", "z")))
    assert read_texts(path, 100) == ["abcd", "éé", "z"]
    assert read_texts(path, 7) == ["abcd", "é"]
    plain = tmp_path / "one.txt"
    plain.write_text("a\nb")
    assert read_texts(plain, 100) == ["a\nb"]


@pytest.mark.parametrize(
    "content, why",
    [('{"txt": "a"}\n', "line 1 has no text"), ("{\n", "line 1 is no JSON"), ("\n", "has no text")],
)
def test_a_file_without_texts_is_refused(tmp_path, content, why):
    path = tmp_path / "texts.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=why):
        read_texts(path, 100)
    with pytest.raises(UserError, match="can't be read"):
        read_texts(tmp_path / "absent.jsonl", 100)


def test_an_encoder_decoder_is_refused():
    with pytest.raises(UserError, match="decoder-only"):
        score_text(model_of(), BYTES, Lengths(5, 3), TEXTS, 2)
