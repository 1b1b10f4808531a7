"""A card is read whole, and each mistake in one is a line that names file and place."""

from pathlib import Path

import pytest

from flanmix.errors import UserError
from flanmix.registry.card import load_card
from tests.registry.cards import CARD, write_card


def test_a_card_is_read_whole(tmp_path: Path):
    spec = load_card(write_card(tmp_path, "mine/nli/toy"))
    assert (spec.name, spec.collection, spec.cluster) == ("toy", "mine", "nli")
    assert spec.options == ("yes", "no")
    assert spec.source.kind == "jsonl"
    assert spec.forward_templates == (0, 1)
    assert spec.templates[2].inverted


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: one", "version is 'one'"),
        ("kind: classification", "kind: choice", "kind is 'choice'"),
        ("kind: classification", "kind: generation", "kind must be classification"),
        ("answer: label", "anwser: label", "'anwser' is unknown; did you mean 'answer'?"),
        ("answer: label", "", "'answer' is missing"),
        ('["yes", "no"]', "[yes, no]", "quote yes, no and numbers"),
        ('["yes", "no"]', '["yes"]', "at least two"),
        ("{{premise}} Then", "{{premis}} Then", "template 0: field '{premis}' is unknown"),
        ("{{premise}} Then", "{{answer}} Then", "template 0: its input shows"),
        ("inverted: true", "inverse: true", "template 2: key 'inverse' is unknown"),
        ("premise: text.premise", "answer: text.premise", "'answer' is reserved"),
        ('{{jsonl: "."}}', "jsonl", "source is 'jsonl': write the kind and its location"),
        ('{{jsonl: "."}}', "{{jsonl: [a]}}", "source is"),
        ("metrics: [accuracy]", "metrics: []", "metrics is empty"),
        ("metrics: [accuracy]", "metrics: [", "not YAML"),
        ("name: {name}", "name: other", "it must be the file's"),
        ("test: ", "testing: ", "split 'testing' is unknown"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, old: str, new: str, message: str):
    assert old in CARD
    text = CARD.replace(old, new).format(name="toy")
    path = write_card(tmp_path, "mine/nli/toy", text)
    with pytest.raises(UserError) as caught:
        load_card(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fingerprints_tell_the_data_from_the_wording(tmp_path: Path):
    first = load_card(write_card(tmp_path, "mine/nli/toy"))
    text = CARD.replace("Then", "So").format(name="toy")
    reworded = load_card(write_card(tmp_path, "mine/nli/toy", text))
    assert reworded.data_fingerprint() == first.data_fingerprint()
    assert reworded.fingerprint() != first.fingerprint()
    text = CARD.replace("version: 1", "version: 2").format(name="toy")
    changed = load_card(write_card(tmp_path, "mine/nli/toy", text))
    assert changed.data_fingerprint() != first.data_fingerprint()


def test_the_mapping_functions_code_counts_as_data(tmp_path: Path):
    text = CARD.format(name="toy") + "map: toy.py:row\n"
    path = write_card(tmp_path, "mine/nli/toy", text)
    (path.parent / "toy.py").write_text("def row(raw): return raw\n")
    first = load_card(path).data_fingerprint()
    (path.parent / "toy.py").write_text("def row(raw): return None\n")
    assert load_card(path).data_fingerprint() != first


def test_a_part_of_a_dataset_takes_what_it_does_not_say_from_its_like(tmp_path: Path):
    model = load_card(write_card(tmp_path, "mine/nli/toy"))
    part = "name: part\nlike: toy\nsplits: {test: rows.jsonl}\n"
    spec = load_card(write_card(tmp_path, "mine/nli/part", part))
    assert (spec.name, spec.splits) == ("part", {"test": "rows.jsonl"})
    assert (spec.templates, spec.options, spec.source) == (
        model.templates,
        model.options,
        model.source,
    )


@pytest.mark.parametrize(
    ("like", "message"),
    [("tyo", "there is no .*did you mean 'toy'"), ("part", "is like 'toy' itself")],
)
def test_a_like_that_leads_nowhere_is_said(tmp_path: Path, like: str, message: str):
    write_card(tmp_path, "mine/nli/toy")
    write_card(tmp_path, "mine/nli/part", "name: part\nlike: toy\n")
    path = write_card(tmp_path, "mine/nli/other", f"name: other\nlike: {like}\n")
    with pytest.raises(UserError, match=message):
        load_card(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rationale: 3", "rationale is 3: it must be a path"),
        ("weight: []", "weight is"),
        ("messages: ''", "messages is ''"),
        ("metadata: url", "metadata is 'url'"),
        ("metadata: {a: 3}", "metadata: 'a': 3 must be texts"),
    ],
)
def test_paths_are_texts(tmp_path: Path, line: str, message: str):
    path = write_card(tmp_path, "mine/nli/toy", CARD.format(name="toy") + line)
    with pytest.raises(UserError, match=message):
        load_card(path)


def test_metadata_as_a_list_is_named_by_its_paths(tmp_path: Path):
    text = CARD.format(name="toy") + "metadata: [url, source.year]"
    task = load_card(write_card(tmp_path, "mine/nli/toy", text))
    assert task.metadata == {"url": "url", "source.year": "source.year"}
