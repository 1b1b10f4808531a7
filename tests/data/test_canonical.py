"""Raw records become canonical ones, or say why not."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.canonical import RecordError, canonicalize
from flanmix.errors import UserError
from flanmix.registry.card import load_card
from flanmix.registry.record import ROLES, Message, Record
from flanmix.registry.task import TaskSpec
from tests.registry.cards import CARD, write_card

GOOD = {"text": {"premise": b"It rains."}, "hypothesis": "It is wet.", "label": 1}


@pytest.fixture
def spec(tmp_path: Path) -> TaskSpec:
    return load_card(write_card(tmp_path, "mine/nli/toy"))


def test_bytes_numbers_and_numpy_are_understood(spec: TaskSpec):
    raw = {**GOOD, "hypothesis": np.float32(2.5), "label": np.int64(0)}
    (record,) = canonicalize(spec, raw, "train-0")
    expected = {"premise": "It rains.", "hypothesis": "2.5"}
    assert record == Record("train-0", expected, ("yes",), ("yes", "no"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 2}, "no option has that number"),
        ({"label": -1}, "no option has that number"),
        ({"label": "perhaps"}, "'perhaps' is no option"),
        ({"label": None}, "the answer is missing"),
        ({"hypothesis": "  "}, "field 'hypothesis' .* is empty"),
        ({"hypothesis": ["a"]}, "field 'hypothesis' is a list"),
        ({"text": {}}, "'text.premise' is missing"),
    ],
)
def test_what_does_not_fit_is_one_line(spec: TaskSpec, change: dict, message: str):
    with pytest.raises(RecordError, match=rf"task 'toy', record train-3: .*{message}"):
        canonicalize(spec, {**GOOD, **change}, "train-3")


ABSENT = [None, math.nan, np.float32("nan"), np.array(math.nan), "no such key"]


@pytest.mark.parametrize("value", ABSENT)
def test_null_nan_and_a_missing_key_are_one_thing(spec: TaskSpec, value: object):
    raw: dict = {**GOOD, "hypothesis": value}
    if value == "no such key":
        del raw["hypothesis"]
    with pytest.raises(RecordError, match=r"record t-0: .*'hypothesis'.* is missing"):
        canonicalize(spec, raw, "t-0")
    lenient = dataclasses.replace(spec, optional=("hypothesis",), rationale="why.not")
    (record,) = canonicalize(lenient, raw, "t-0")
    assert record.fields["hypothesis"] == "" and record.rationale == ""
    assert canonicalize(lenient, {**raw, "why": {"not": value}}, "t-0")[0].rationale in ("", value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, np.float32("inf"), [1.0, math.inf]])
def test_infinity_is_no_value(spec: TaskSpec, value: object):
    optional = dataclasses.replace(spec, optional=("hypothesis",))
    with pytest.raises(RecordError, match=r"field 'hypothesis' is (infinite|a list)"):
        canonicalize(optional, {**GOOD, "hypothesis": value}, "t-0")
    listed = dataclasses.replace(spec, options=(), option_fields=("a", "b"))
    with pytest.raises(RecordError, match=r"an option is (infinite|a list)"):
        canonicalize(listed, {**GOOD, "a": "x", "b": value}, "t-0")
    free = dataclasses.replace(spec, kind="generation", options=(), templates=(spec.templates[2],))
    with pytest.raises(RecordError, match="the answer is infinite"):
        canonicalize(free, {**GOOD, "label": value}, "t-0")


@pytest.mark.parametrize("number", [3.8, 0.1, 1e-5, 2.5, 16777216.0, 123456.7])
def test_single_precision_is_written_by_its_own_decimals(spec: TaskSpec, number: float):
    for made in (np.float32(number), np.array(number, np.float32)):
        (record,) = canonicalize(spec, {**GOOD, "hypothesis": made}, "t-0")
        assert record.fields["hypothesis"] == str(number)
    listed = dataclasses.replace(spec, options=(), option_fields="all")
    raw = {**GOOD, "all": np.array([number, 7.2], np.float32), "label": "7.2"}
    text = dataclasses.replace(listed, answer_form="text")
    assert canonicalize(text, raw, "t-0")[0].options == (str(number), "7.2")


def test_bytes_that_are_no_utf8_are_refused(spec: TaskSpec, tmp_path: Path):
    with pytest.raises(RecordError, match=r"'text.premise' is not UTF-8 \(byte 2\)"):
        canonicalize(spec, {**GOOD, "text": {"premise": b"ab\xff"}}, "t-0")
    (tmp_path / "same.py").write_text("def same(raw):\n    return raw\n")
    mapped = dataclasses.replace(spec, mapping="same.py:same", folder=tmp_path)
    with pytest.raises(RecordError, match=r"'hypothesis' is not UTF-8 \(byte 0\)"):
        canonicalize(mapped, {**GOOD, "hypothesis": np.array([b"\xc3"], object)}, "t-0")


def test_a_missing_key_names_the_nearest(spec: TaskSpec):
    raw = {**GOOD, "hypotesis": "x"}
    del raw["hypothesis"]
    with pytest.raises(RecordError, match="did you mean 'hypotesis'"):
        canonicalize(spec, raw, "train-0")


def test_options_of_each_record(spec: TaskSpec):
    listed = dataclasses.replace(spec, options=(), option_fields="choices.text")
    raw = {**GOOD, "choices": [{"text": "a"}, {"text": "b"}], "label": "b"}
    assert canonicalize(listed, raw, "t-0")[0].options == ("a", "b")
    named = dataclasses.replace(spec, options=(), option_fields=("first", "second"))
    raw = {**GOOD, "first": "a", "second": "b", "label": 1}
    assert canonicalize(named, raw, "t-0")[0].answers == ("b",)
    with pytest.raises(RecordError, match="none empty"):
        canonicalize(named, {**raw, "second": ""}, "t-0")


def test_labels_that_the_source_spells_otherwise(spec: TaskSpec):
    spelled = dataclasses.replace(spec, labels={"entailment": "yes", "1": "no"})
    assert canonicalize(spelled, {**GOOD, "label": "entailment"}, "t-0")[0].answers == ("yes",)
    assert canonicalize(spelled, {**GOOD, "label": 1}, "t-0")[0].answers == ("no",)


def test_several_references(spec: TaskSpec):
    free = dataclasses.replace(spec, kind="generation", options=(), templates=(spec.templates[2],))
    raw = {**GOOD, "label": ["a", "b", "a", " "]}
    assert canonicalize(free, raw, "t-0")[0].answers == ("a", "b")
    with pytest.raises(RecordError, match="is empty"):
        canonicalize(free, {**GOOD, "label": []}, "t-0")


def test_a_mapping_function_may_drop_and_multiply(tmp_path: Path):
    text = CARD.format(name="toy") + "map: toy.py:rows\n"
    path = write_card(tmp_path, "mine/nli/toy", text)
    (path.parent / "toy.py").write_text(
        "def rows(raw):\n    if raw['label'] < 0: return None\n    return [raw] * raw['copies']\n"
    )
    spec = load_card(path)
    assert canonicalize(spec, {**GOOD, "label": -1}, "t-0") == []
    two = canonicalize(spec, {**GOOD, "copies": 2}, "t-0")
    assert [record.id for record in two] == ["t-0.0", "t-0.1"]
    with pytest.raises(RecordError, match=r"toy\.py:rows fails: KeyError"):
        canonicalize(spec, GOOD, "t-0")
    (path.parent / "toy.py").unlink()
    with pytest.raises(UserError, match="is missing"):
        canonicalize(dataclasses.replace(spec, mapping="gone.py:rows"), GOOD, "t-0")


# ---- what only some datasets have --------------------------------------------------------------

FULL = {
    **GOOD,
    "why": "Rain wets streets.",
    "score": 2,
    "chat": [{"role": "user", "content": b"Wet?"}, {"role": "assistant", "content": "Yes."}],
    "source": {"url": "a.b", "year": np.int64(1999)},
}


@pytest.fixture
def full(tmp_path: Path) -> TaskSpec:
    text = CARD.format(name="toy") + (
        "rationale: why\nweight: score\nmessages: chat\nmetadata: {link: source.url, all: source}\n"
    )
    return load_card(write_card(tmp_path, "mine/nli/toy", text))


def test_rationale_weight_messages_and_metadata_are_read_by_path(full: TaskSpec):
    (record,) = canonicalize(full, FULL, "train-0")
    assert (record.rationale, record.weight) == ("Rain wets streets.", 2.0)
    assert record.messages == (Message("user", "Wet?"), Message("assistant", "Yes."))
    assert record.metadata == {"link": "a.b", "all": {"url": "a.b", "year": 1999}}
    assert Record.from_bytes(record.to_bytes()) == record
    assert canonicalize(full, {**FULL, "why": None}, "t-0")[0].rationale == ""
    assert canonicalize(full, {**FULL, "score": "0.25"}, "t-0")[0].weight == 0.25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"why": ["a"]}, "the rationale is a list, not a text"),
        ({"score": -1}, r"the weight \(score\) is '-1': it must be a number from 0 up"),
        ({"score": float("nan")}, "is 'nan'"),
        ({"score": "inf"}, "is 'inf'"),
        ({"score": 1e39}, r"is '1e\+39'"),
        ({"score": 10**400}, "is '1000"),
        ({"score": True}, "is 'True'"),
        ({"score": "much"}, "is 'much'"),
        ({"score": None}, "is 'None'"),
        ({"chat": []}, r"messages \(chat\) are empty"),
        ({"chat": "Wet?"}, "are no list"),
        ({"chat": [{"role": "user"}]}, r"message 0 \(chat\) has no role and content"),
        ({"chat": [{"role": "usr", "content": "a"}]}, "has the role 'usr': one of system, user"),
        ({"chat": [{"role": "user", "content": " "}]}, "the content of message 0 .* is empty"),
        ({"chat": [{"role": "user", "content": 1j}]}, "is a complex, not a text"),
        ({"source": {"url": float("nan")}}, r"metadata 'link' \(source.url\) can't be kept"),
        ({"source": {"url": {1: "a number as a key"}}}, "metadata 'link' .* can't be kept"),
        ({"source": {"url": {1, 2}}}, "metadata 'link' .* can't be kept"),
        ({"source": {"year": 1}}, "'source.url' is missing"),
    ],
)
def test_what_does_not_fit_of_them_is_one_line(full: TaskSpec, change: dict, message: str):
    with pytest.raises(RecordError, match=rf"task 'toy', record train-3: .*{message}") as caught:
        canonicalize(full, {**FULL, **change}, "train-3")
    assert "\n" not in str(caught.value)


def test_they_enter_the_fingerprint_where_a_card_gives_them(spec: TaskSpec, full: TaskSpec):
    keys = {"rationale": "why", "weight": "score", "messages": "chat", "metadata": {"a": "b"}}
    digests = {spec.data_fingerprint()}
    digests |= {dataclasses.replace(spec, **{k: v}).data_fingerprint() for k, v in keys.items()}
    assert len({*digests, full.data_fingerprint()}) == 6
    # As it was before there were such keys.
    assert dataclasses.replace(spec, folder=None).data_fingerprint() == "b9aa6e06a6740abc"


# Lone surrogates too, and two side by side, which are not the letter that they spell in UTF-16.
TEXT = st.text(st.characters() | st.characters(categories=["Cs"])) | st.just("\ud83d\ude00")


@given(
    texts=st.dictionaries(TEXT, TEXT),
    answers=st.lists(TEXT, min_size=1),
    options=st.lists(TEXT),
    messages=st.lists(st.builds(Message, st.sampled_from(ROLES), TEXT)),
    rationale=TEXT,
    weight=st.floats(0, allow_infinity=False),
    metadata=st.dictionaries(
        TEXT, st.recursive(st.none() | TEXT | st.integers() | st.booleans(), st.lists)
    ),
)
def test_a_record_survives_its_encoding(texts, answers, options, messages, metadata, **values):
    record = Record(
        "train-0",
        texts,
        tuple(answers),
        tuple(options),
        messages=tuple(messages),
        metadata=metadata,
        **values,
    )
    assert Record.from_bytes(record.to_bytes()) == record


def test_what_a_record_lacks_is_not_written():
    record = Record("train-0", {"a": "b"}, ("c",))
    assert record.to_bytes() == b'{"id":"train-0","fields":{"a":"b"},"answers":["c"]}'
    for other in (b'["train-0",{},["c"],[]]', b'{"id":"a","fields":{},"answers":["c"],"odd":1}'):
        with pytest.raises(TypeError):
            Record.from_bytes(other)
