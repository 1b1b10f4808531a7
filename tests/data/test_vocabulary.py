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
from tests.conftest import ROOT


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


TOKENIZERS = ROOT.parent / "shared" / "data" / "tokenizers"
SPECIALS = {  # pad, eos, unk, bos
    "t5_32000.model": (0, 1, 2, None),
    "cc_all.32000.100extra.model": (0, 1, 3, 2),
    "mistral_v1.model": (None, 2, 0, 1),
}


@pytest.mark.parametrize("name", SPECIALS)
def test_real_tokenizers(name):
    """Padding is dropped, and nothing that is a piece: mistral's 0 is its unknown one."""
    if not (TOKENIZERS / name).is_file():
        pytest.skip(f"needs {name} in ../shared/data/tokenizers")
    vocabulary = load_vocabulary(str(TOKENIZERS / name))
    pad, eos, unk, bos = SPECIALS[name]
    found = (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id, vocabulary.bos_id)
    assert found == (pad, eos, unk, bos)
    ids = vocabulary.encode("Is it wet?")
    assert vocabulary.decode([*ids, eos, 0, 0]) == "Is it wet?"
    shown = vocabulary.decode([*ids, unk])
    assert shown != "Is it wet?" and shown.startswith("Is it wet?")
    assert vocabulary.decode([*ids, vocabulary.size]) == shown  # a row that only pads the table
    assert vocabulary.decode([*ids, 0]) == (shown if pad is None else "Is it wet?")


def trained(folder, **special):
    """A SentencePiece model of 20 pieces with special ids of its own."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(["the cat sat on the mat", "a dog ran after the cat"] * 20),
        model_prefix=str(folder / "special"),
        vocab_size=20,
        minloglevel=2,
        num_threads=1,
        **special,
    )
    return load_vocabulary(str(folder / "special.model"))


@pytest.mark.parametrize(
    ("pad", "unk", "bos", "eos"), [(-1, 0, 1, 2), (3, 0, 1, 2), (0, 3, 2, 1), (2, 1, 0, 3)]
)
def test_decode_shows_what_is_unknown_wherever_the_special_ids_are(tmp_path, pad, unk, bos, eos):
    vocabulary = trained(tmp_path, pad_id=pad, unk_id=unk, bos_id=bos, eos_id=eos)
    assert vocabulary.pad_id == (None if pad < 0 else pad)
    ids = vocabulary.encode("the cat")
    assert vocabulary.decode([*ids, eos, *ids]) == "the cat"
    assert "⁇" in vocabulary.decode([*ids, unk])
    assert "⁇" in vocabulary.decode(vocabulary.encode("the Ж"))
    if pad >= 0:
        assert vocabulary.decode([pad, *ids, pad]) == "the cat"


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
