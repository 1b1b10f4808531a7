"""`check` finds what is wrong with cards, mixtures and prepared records, and exits with 1."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flanmix import cli
from flanmix.audit.records import check_record
from flanmix.registry.card import load_card
from flanmix.registry.record import Record
from tests.registry.cards import CARD, write_card
from tests.verbs.collection import make_records, make_rows, store_task, write_task

PLACE = "mine/nli/toy"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection of one good task and one mixture."""
    folder = tmp_path / "tasks"
    write_task(folder, PLACE, make_rows(8))
    (folder / "mine" / "mixtures.yaml").write_text("mix: {tasks: [mine]}\n")
    monkeypatch.setenv("FLANMIX_TASKS", str(folder))
    return folder


def check(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["check", *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_everything_that_ships_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = check(capsys)
    assert found["problems"] == []
    assert code == 0
    assert found["checked"] > 30


def test_a_good_collection(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, "toy") == (0, {"checked": 1, "problems": []})
    assert check(capsys, "mix") == (0, {"checked": 2, "problems": []})
    assert check(capsys, "mine/nli") == (0, {"checked": 1, "problems": []})
    assert cli.main(["check", "mix"]) == 0
    assert capsys.readouterr().out == "2 tasks and mixtures checked: no problems\n"


def test_an_unknown_name_is_a_mistake(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "tox"]) == 2
    err = capsys.readouterr().err
    assert err == "flanmix: no task, mixture or collection is named 'tox'; did you mean 'toy'?\n"


def test_broken_cards_and_mixtures(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_card(root, "mine/nli/leak", CARD.format(name="leak").replace("{options}", "{answer}"))
    mixtures = "mix: {tasks: [mine]}\nbad: {tasks: [toy, gone]}\n"
    (root / "mine" / "mixtures.yaml").write_text(mixtures)
    code, found = check(capsys, "mine", "mix", "bad")
    assert code == 1
    assert [(p["task"], p["template"]) for p in found["problems"]] == [("leak", 0), ("bad", None)]
    assert cli.main(["check", "leak"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task", "template", "record", "problem"]
    assert lines[1].startswith("leak         0  -       its input shows {answer}")
    assert lines[2] == "1 tasks and mixtures checked: 1 problem"


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ('train: "rows.jsonl", test: "rows.jsonl[-2:]"', "splits train and test share rows"),
        ('train: "rows.jsonl[:6]", test: "rows.jsonl[5:]"', "share rows"),
        ('train: "rows.jsonl[:80%]", test: "rows.jsonl[80%:]"', None),
        ('train: "rows.jsonl[:-2]", test: "rows.jsonl[-2:]"', None),
        ('train: "rows.jsonl", test: "others.jsonl"', None),
        ('train: "rows.jsonl[:x]"', "train: split 'rows.jsonl[:x]' has the bound 'x'"),
    ],
)
def test_splits(
    root: Path, splits: str, says: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CARD.format(name="toy").replace(
        'train: "rows.jsonl[:-2]", test: "rows.jsonl[-2:]"', splits
    )
    write_card(root, PLACE, text)
    code, found = check(capsys, "toy")
    assert code == (0 if says is None else 1)
    assert all(says in problem["message"] for problem in found["problems"])


def test_good_records(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store_task(root, PLACE, tmp_path / "store", make_records(20))
    assert check(capsys, "mix", "--store", str(tmp_path / "store"))[0] == 0


@pytest.mark.parametrize(
    ("change", "template", "says"),
    [
        ({"answers": ("perhaps",)}, None, "the answer 'perhaps' is no option"),
        ({"answers": ()}, None, "answer is missing"),
        ({"fields": {"premise": "x"}}, None, "its fields are"),
        ({"fields": {"premise": " ", "hypothesis": "x"}}, None, "field 'premise' is empty"),
        ({"options": ("yes", "yes")}, None, "two of its options are the same"),
    ],
)
def test_a_bad_record_is_named(
    root: Path,
    tmp_path: Path,
    change: dict[str, Any],
    template: int | None,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = make_records(20)
    records[12] = replace(records[12], **change)
    store_task(root, PLACE, tmp_path / "store", records)
    code, found = check(capsys, "toy", "--store", str(tmp_path / "store"))
    assert code == 1
    problem = found["problems"][0]
    assert (problem["task"], problem["record"]) == ("toy", "train-12")
    assert problem["template"] == template
    assert says in problem["message"]


def test_many_of_a_kind_are_counted(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [replace(record, answers=(f"so {i}",)) for i, record in enumerate(make_records(50))]
    store_task(root, PLACE, tmp_path / "store", records)
    _, found = check(capsys, "toy", "--store", str(tmp_path / "store"))
    assert [p["record"] for p in found["problems"]] == ["train-0", "train-1", "train-2", None]
    assert "47 more records" in found["problems"][-1]["message"]


def test_what_reads_unnaturally_in_many_records_is_said_once(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"premise": "It rains", "hypothesis": "it is wet."}  # a template has {hypothesis}?
    records = [
        replace(record, fields={**fields, "premise": f"It rains {number}"})
        for number, record in enumerate(make_records(300))
    ]
    store_task(root, PLACE, tmp_path / "store", records)
    code, found = check(capsys, "toy", "--store", str(tmp_path / "store"))
    assert code == 1
    (problem,) = found["problems"]
    assert (problem["template"], problem["record"]) == (0, None)
    assert problem["message"].startswith("puts '?' after {hypothesis}, which ends with punct")
    assert problem["message"].endswith("in 300 of 300 records: 'is wet.?'")


def test_a_vocabularys_loss_is_stated(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = check(capsys, "mix", "--vocabulary", "byte")
    assert code == 0
    rows = [{"task": "toy", "unknown_share": 0.0, "collapsed_pairs": 0}]
    assert found["vocabulary"] == {"name": "byte", "tasks": rows}
    assert list(found) == ["checked", "problems", "vocabulary"]
    assert cli.main(["check", "toy", "--vocabulary", "byte"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "lost in vocabulary 'byte', of the templates' own characters:"
    assert lines[-1].split() == ["toy", "0", "0"]
    assert cli.main(["check", "toy", "--vocabulary", "gone.model"]) == 2


def test_options_of_the_same_ids_in_a_vocabulary_are_a_problem(
    root: Path, tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shared_data / "tokenizers" / "t5_32000.model"
    if not model.exists():
        pytest.skip(f"T5's vocabulary is not among the real data: {model.name}")
    faces = CARD.format(name="faces").replace('["yes", "no"]', '["\U0001f600", "\U0001f622"]')
    write_card(root, "mine/nli/faces", faces)
    assert "\U0001f622" in (root / "mine/nli/faces.yaml").read_text(encoding="utf-8")
    code, found = check(capsys, "faces", "toy", "--vocabulary", str(model))
    assert code == 1
    (problem,) = [p for p in found["problems"] if "same ids" in p["message"]]
    assert (problem["task"], problem["template"], problem["record"]) == ("faces", None, None)
    assert cli.main(["check", "faces", "--vocabulary", str(model)]) == 1
    out = capsys.readouterr().out
    assert "are the same ids in the vocabulary" in out
    assert "no problems" not in out
    assert check(capsys, "faces", "--vocabulary", "byte")[0] == 0


def test_a_store_that_lacks_or_spoils_a_task(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "store"
    assert cli.main(["check", "--store", str(folder)]) == 2
    folder.mkdir()
    capsys.readouterr()
    code, found = check(capsys, "toy", "--store", str(folder))
    assert code == 1
    assert "is not in store" in found["problems"][0]["message"]
    store_task(root, PLACE, folder, make_records(20))
    data = folder / "toy" / "train.array_record"
    spoiled = bytearray(data.read_bytes())
    spoiled[len(spoiled) // 2] ^= 0xFF
    data.write_bytes(bytes(spoiled))
    code, found = check(capsys, "toy", "--store", str(folder))
    assert code == 1
    assert "corrupt" in found["problems"][0]["message"]


def test_a_record_that_no_template_fits(root: Path) -> None:
    spec = replace(load_card(root / f"{PLACE}.yaml"), optional=("premise",))
    record = Record("train-0", {"premise": "", "hypothesis": "x"}, ("yes",), ("yes", "no"))
    assert check_record(spec, record) == [
        (None, "no template fits it: optional fields that they use are empty")
    ]
