"""Vocabularies: SeqIO's ids, any text and any ids survive, a bad file is one clear line."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.vocabulary import ByteVocabulary, SentencePieceVocabulary, load_vocabulary
from flanmix.errors import UserError


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A SentencePiece model of 20 pieces with T5's special ids."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("vocabulary")
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(["the cat sat on the mat", "a dog ran after the cat"] * 20),
        model_prefix=str(folder / "small"),
        vocab_size=20,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        num_threads=1,
    )
    return folder / "small.model"


@given(st.text())
def test_bytes_hold_every_text(text):
    vocabulary = ByteVocabulary()
    ids = vocabulary.encode(text)
    assert ids == [byte + 3 for byte in text.encode()]
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode([*ids, 1, 100, 0]) == text


@given(st.lists(st.integers(-5, 2**31 - 1)))
def test_decode_never_raises(ids):
    text = ByteVocabulary().decode(ids)
    assert isinstance(text, str)
    assert len(ByteVocabulary().pieces(ids)) == len(ids)


def test_bytes_have_the_special_ids():
    vocabulary = load_vocabulary("byte")
    assert (vocabulary.size, vocabulary.padded_size) == (259, 384)
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    assert vocabulary.pieces([0, 1, 2, 107, 13]) == ["<pad>", "</s>", "<unk>", "h", "<0x0A>"]
    assert vocabulary.encode("\ud800") == [ord("?") + 3]


def test_sentencepiece(small_model):
    vocabulary = load_vocabulary(str(small_model))
    assert (vocabulary.size, vocabulary.padded_size) == (20, 128)
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    assert vocabulary.bos_id is None
    ids = vocabulary.encode("the cat ran")
    assert 1 not in ids
    assert vocabulary.decode([*ids, 1, *ids]) == "the cat ran"
    assert vocabulary.decode([0, 0, *ids, 0]) == "the cat ran"
    assert vocabulary.unk_id in vocabulary.encode("Ж")
    assert vocabulary.pieces([1, 127])[1] == vocabulary.pieces([2])[0]
    assert isinstance(vocabulary.decode([127, 10**6, -3]), str)
    batch = vocabulary.encode_batch(["the cat", "", "mat"])
    assert [list(ids) for ids in batch] == [vocabulary.encode(t) for t in ("the cat", "", "mat")]
    assert all(ids.dtype == np.int32 for ids in batch)
    assert load_vocabulary(str(small_model)) is vocabulary


@pytest.mark.parametrize("text", ["", "\0a\0", "\ud83d", "🙂 שלום", "{a}{{b}}", "x" * 10**6])
def test_sentencepiece_takes_any_text(small_model, text):
    vocabulary = load_vocabulary(str(small_model))
    assert isinstance(vocabulary.decode(vocabulary.encode(text)), str)


def test_bad_files_are_one_line(small_model, tmp_path):
    damaged = tmp_path / "damaged.model"
    damaged.write_bytes(small_model.read_bytes()[:-100])
    empty = tmp_path / "empty.model"
    empty.write_bytes(b"")
    for path in (damaged, empty, tmp_path / "absent.model", tmp_path):
        with pytest.raises(UserError, match=path.name):
            SentencePieceVocabulary(path)


def test_the_pocket_model_is_looked_up_in_the_roots(small_model, tmp_path, monkeypatch):
    (tmp_path / "pocket").mkdir()
    (tmp_path / "pocket" / "pocket.model").write_bytes(small_model.read_bytes())
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path))
    load_vocabulary.cache_clear()
    assert load_vocabulary("pocket").size == 20
    load_vocabulary.cache_clear()


def test_equal_to_seqio(shared_data):
    model = shared_data / "tokenizers" / "t5_32000.model"
    texts = ["The house is wonderful.", "Straße für 1,5 €", "a\nb  c", "日本"]
    program = (
        "import sys, json, seqio\n"
        "sp, by = seqio.SentencePieceVocabulary(sys.argv[1], 0), seqio.ByteVocabulary()\n"
        "texts = json.loads(sys.argv[2])\n"
        "print(json.dumps([[v.encode(t), v.decode(v.encode(t) + [1, 5])] for v in (sp, by)"
        " for t in texts]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(model), json.dumps(texts)],
        capture_output=True,
        check=True,
        text=True,
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    for vocabulary, rows in (
        (load_vocabulary(str(model)), theirs[:4]),
        (load_vocabulary("byte"), theirs[4:]),
    ):
        for text, (ids, _) in zip(texts, rows, strict=True):
            assert vocabulary.encode(text) == ids
        assert vocabulary.decode([*vocabulary.encode(texts[0]), 1, 5]) == texts[0]
