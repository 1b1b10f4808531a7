"""Tokenizers of others: what is special is read from the files, and text never gives it."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.vocabulary import load_vocabulary
from flanmix.errors import UserError
from tests.conftest import ROOT
from tests.data.tokenizers import byte_level, sentencepiece_model, unigram, write_json

SPELLINGS = ["<|im_end|>", "<|more|>", "</s>", "<extra_id_0>", "<pad>", "<unk>", "<tool>", "\n\n"]
MIXED = st.lists(st.sampled_from(SPELLINGS) | st.text(max_size=4), max_size=8).map("".join)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    byte_level(root / "bpe")
    unigram(root / "unigram")
    folder = sentencepiece_model(
        root / "t5" / "spiece.model", vocab_size=22, user_defined_symbols=["<extra_id_7>", "<tool>"]
    ).parent
    said = {"tokenizer_class": "T5Tokenizer", "extra_ids": 3, "eos_token": "</s>"}
    write_json(folder, "tokenizer_config.json", said)
    return root


def test_what_is_special_is_read(folders):
    bpe = load_vocabulary(str(folders / "bpe"))
    assert (bpe.pad_id, bpe.eos_id, bpe.end_ids, bpe.unk_id) == (None, 2, (2,), None)
    assert (bpe.bos_id, bpe.start_id) == (1, None)
    more = bpe.size - 1
    assert bpe.special_tokens == {
        "<|endoftext|>": 0,
        "<|im_start|>": 1,
        "<|im_end|>": 2,
        "<|more|>": more,
    }
    file = load_vocabulary(str(folders / "bpe" / "tokenizer.json"))
    assert (file.special_tokens, file.eos_id) == (bpe.special_tokens, bpe.eos_id)
    words = load_vocabulary(str(folders / "unigram"))
    # EOS is what the file's own post-processor ends a text with: no settings name it.
    assert (words.pad_id, words.eos_id, words.unk_id, words.start_id) == (0, 1, 2, None)
    t5 = load_vocabulary(str(folders / "t5"))
    assert (t5.size, t5.pad_id, t5.eos_id, t5.start_id) == (25, 0, 1, 0)
    assert [t5.special_tokens[f"<extra_id_{n}>"] for n in range(3)] == [24, 23, 22]
    assert t5.pieces([24, 22, 200]) == ["<extra_id_0>", "<extra_id_2>", "<unk>"]


@pytest.mark.parametrize(
    ("bos", "said", "start"),
    [
        (False, {}, None),
        (False, {"add_bos_token": False}, None),
        (False, {"add_bos_token": True}, 1),
        (True, {}, 1),
        (True, {"bos_token": None}, 1),
        (True, {"add_bos_token": False}, None),
        (False, {"add_bos_token": True, "bos_token": None}, None),
    ],
)
def test_a_sequence_begins_as_the_tokenizer_begins_it(tmp_path, bos, said, start):
    assert load_vocabulary(str(byte_level(tmp_path / "t", bos=bos, **said))).start_id == start


def test_several_tokens_end_a_text_and_any_may_pad(tmp_path):
    folder = byte_level(tmp_path / "t", pad_token={"content": "<|more|>"})
    write_json(folder, "generation_config.json", {"eos_token_id": [0, 2, 10**6]})
    vocabulary = load_vocabulary(str(folder))
    assert (vocabulary.eos_id, vocabulary.end_ids) == (2, (2, 0))
    assert vocabulary.pad_id == vocabulary.size - 1
    ids = vocabulary.encode("the cat")
    for end in (0, 2):
        assert vocabulary.decode([1, *ids, vocabulary.pad_id, end, *ids]) == "the cat"
    write_json(folder, "tokenizer_config.json", {"eos_token": None})
    load_vocabulary.cache_clear()
    assert load_vocabulary(str(folder)).end_ids == (0, 2)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "t5"])
@given(text=MIXED)
def test_text_that_spells_a_control_token_is_text(folders, kind, text):
    vocabulary = load_vocabulary(str(folders / kind))
    ids = vocabulary.encode(text)
    controls = {*vocabulary.special_tokens.values(), *vocabulary.end_ids, vocabulary.pad_id}
    assert not controls - {vocabulary.unk_id} & set(ids)
    if kind == "bpe":
        assert vocabulary.decode(ids) == text  # byte-level: every text comes back


def test_added_tokens_that_do_not_control_are_still_found(folders):
    bpe = load_vocabulary(str(folders / "bpe"))
    assert bpe.pieces(bpe.encode("the  <tool>\n\n"))[-2:] == ["<tool>", "\n\n"]
    t5 = load_vocabulary(str(folders / "t5"))
    assert "<tool>" in t5.pieces(t5.encode("the <tool> cat"))
    assert "<extra_id_7>" not in t5.pieces(t5.encode("the <extra_id_7> cat"))
    assert t5.decode(t5.encode("the cat")) == "the cat"


def test_an_added_token_that_ends_a_text_controls_and_a_piece_that_pads_does_not(tmp_path):
    folder = byte_level(tmp_path / "t", eos_token="<tool>", pad_token="!")
    vocabulary = load_vocabulary(str(folder))
    assert vocabulary.pieces([vocabulary.eos_id]) == ["<tool>"]
    assert vocabulary.pad_id is None
    ids = vocabulary.encode("a <tool> b!")
    assert vocabulary.eos_id not in ids
    assert vocabulary.decode([*ids, vocabulary.eos_id]) == "a <tool> b!"


def test_a_bracketed_token_of_the_chat_template_controls(tmp_path):
    folder = byte_level(tmp_path / "t", chat_template="<tool>{{ messages[0]['content'] }}")
    vocabulary = load_vocabulary(str(folder))
    assert "<tool>" in vocabulary.special_tokens
    assert vocabulary.special_tokens["<tool>"] not in vocabulary.encode("a <tool> b")


@pytest.mark.parametrize("kind", ["bpe", "unigram", "t5"])
@given(ids=st.lists(st.integers(-5, 400) | st.integers(-(2**31), 2**31 - 1)))
def test_decode_takes_any_ids(folders, kind, ids):
    vocabulary = load_vocabulary(str(folders / kind))
    assert isinstance(vocabulary.decode(ids), str)
    assert len(vocabulary.pieces(ids)) == len(ids)


@given(st.lists(st.text(max_size=12), max_size=6))
def test_batches_are_their_texts(folders, texts):
    vocabulary = load_vocabulary(str(folders / "bpe"))
    batch = vocabulary.encode_batch(texts)
    assert all(ids.dtype == np.int32 for ids in batch)
    assert [ids.tolist() for ids in batch] == [vocabulary.encode(text) for text in texts]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "t5"])
def test_lone_surrogates_are_question_marks(folders, kind):
    vocabulary = load_vocabulary(str(folders / kind))
    assert vocabulary.encode("a\ud83d") == vocabulary.encode("a?")


@pytest.mark.parametrize("kind", ["bpe", "unigram", "t5", "byte", "pocket"])
def test_a_vocabulary_is_the_same_from_its_files_alone(folders, kind, tmp_path):
    vocabulary = load_vocabulary(str(folders / kind) if kind not in ("byte", "pocket") else kind)
    for name, content in vocabulary.files().items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            shutil.copyfile(content, tmp_path / name)
    again = load_vocabulary(str(tmp_path))
    assert type(again) is type(vocabulary)
    assert again.pieces(range(again.size)) == vocabulary.pieces(range(vocabulary.size))
    for name in ("size", "pad_id", "eos_id", "end_ids", "unk_id", "bos_id", "start_id"):
        assert getattr(again, name) == getattr(vocabulary, name)
    assert again.special_tokens == vocabulary.special_tokens


def test_byt5_has_its_sentinels(tmp_path):
    write_json(tmp_path, "tokenizer_config.json", {"tokenizer_class": "ByT5Tokenizer"})
    vocabulary = load_vocabulary(str(tmp_path))
    assert (vocabulary.size, vocabulary.special_tokens["<extra_id_0>"]) == (384, 259)
    assert vocabulary.decode([259, *vocabulary.encode("é<pad>"), 383]) == "é<pad>"
    assert vocabulary.pieces([259]) == ["<extra_id_0>"]


def _damage(folder, name, content):
    def damage(root):
        byte_level(root / folder)
        (root / folder / name).write_text(content)
        return root / folder

    return damage


def _without_eos(root):
    folder = byte_level(root / "t")
    write_json(folder, "tokenizer_config.json", {})
    return folder


def _cut(root):
    path = byte_level(root / "t") / "tokenizer.json"
    document = json.loads(path.read_text())
    document["model"]["merges"] = [["never", "heard"]]
    path.write_text(json.dumps(document))
    return path


BAD = {
    "no JSON": (_damage("t", "tokenizer.json", '{"model": {'), "is no JSON"),
    "another JSON": (_damage("t", "tokenizer.json", '{"model": {}}'), "is no tokenizer.json"),
    "a list": (_damage("t", "tokenizer.json", "[]"), "holds no JSON object"),
    "damaged": (_cut, "is no tokenizer.json, or is damaged"),
    "settings": (_damage("t", "tokenizer_config.json", "{"), "tokenizer_config.json is no JSON"),
    "odd settings": (
        _damage("t", "tokenizer_config.json", '{"added_tokens_decoder": {"x": 1}}'),
        "not of the form",
    ),
    "no EOS": (_without_eos, "nothing says which token ends a text"),
    "an empty folder": (lambda root: root, "holds no tokenizer"),
    "absent": (lambda root: root / "tokenizer.json", "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_line(tmp_path, case):
    make, message = BAD[case]
    with pytest.raises(UserError, match=message) as error:
        load_vocabulary(str(make(tmp_path)))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


TOKENIZERS = ROOT.parent / "shared" / "data" / "tokenizers"


@pytest.mark.parametrize("name", ["t5_32000", "cc_all.32000.100extra", "mistral_v1"])
def test_real_models_take_control_spellings_as_text(name, tmp_path):
    path = TOKENIZERS / f"{name}.model"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in ../shared/data/tokenizers")
    vocabulary = load_vocabulary(str(path))
    ids = vocabulary.encode("a </s> <s> <pad> <unk> <extra_id_3> [INST]")
    assert not set(vocabulary.special_tokens.values()) & set(ids)
    if name != "t5_32000":
        return
    shutil.copyfile(path, tmp_path / "spiece.model")
    write_json(tmp_path, "tokenizer_config.json", {"extra_ids": 100, "eos_token": "</s>"})
    t5 = load_vocabulary(str(tmp_path))
    assert (t5.size, t5.padded_size) == (32100, 32128)
    assert t5.special_tokens["<extra_id_0>"] == 32099
    assert t5.encode("translate English to German: That is good.") == [
        *(13959, 1566, 12, 2968, 10, 466, 19, 207, 5)
    ]


@pytest.mark.parametrize("name", ["folder", "folder/tokenizer.json", "sp.model"])
def test_its_files_are_found_from_wherever_one_stands(tmp_path, monkeypatch, name):
    byte_level(tmp_path / "folder")
    sentencepiece_model(tmp_path / "sp.model")
    monkeypatch.chdir(tmp_path)
    load_vocabulary.cache_clear()
    vocabulary = load_vocabulary(name)
    monkeypatch.chdir("/")
    load_vocabulary.cache_clear()
    assert all(isinstance(x, bytes) or x.is_file() for x in vocabulary.files().values())
