"""Raw records become canonical ones, or say why not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.canonical import RecordError, canonicalize
from flanmix.errors import UserError
from flanmix.registry.card import load_card
from flanmix.registry.record import Record
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


@given(texts=st.dictionaries(st.text(), st.text()), answers=st.lists(st.text(), min_size=1))
def test_a_record_survives_its_encoding(texts: dict[str, str], answers: list[str]):
    record = Record("train-0", texts, tuple(answers), ("a", "b"))
    assert Record.from_bytes(record.to_bytes()) == record
