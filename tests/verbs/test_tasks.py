"""Tasks and mixtures are listed from their cards, and one broken card takes no other down."""

import json
from pathlib import Path

import pytest

from flanmix import cli
from tests.registry.cards import write_card


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two collections; one card is broken, as is one mixture."""
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path))
    for place in ("mine/nli/toy", "mine/nli/other", "yours/nli/third"):
        write_card(tmp_path, place)
    write_card(tmp_path, "mine/qa/broken", "name: broken")
    mixtures = "both: {tasks: [toy, other]}\nall_mine: {tasks: [mine]}\nbad: {tasks: [gone]}\n"
    (tmp_path / "mine" / "mixtures.yaml").write_text(mixtures)
    return tmp_path


def test_tasks_as_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tasks", "--collection", "mine", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [row["name"] for row in rows] == ["other", "toy"]
    assert rows[1] == {
        "name": "toy",
        "collection": "mine",
        "cluster": "nli",
        "kind": "classification",
        "source": "jsonl:.",
        "templates": 3,
        "inverted": 1,
        "splits": {"train": "rows.jsonl[:-2]", "validation": None, "test": "rows.jsonl[-2:]"},
    }
    assert err.startswith("flanmix: left out: ")
    assert err.count("\n") == 1
    assert "broken.yaml" in err


def test_tasks_as_text(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tasks", "--collection", "yours", "--cluster", "nli"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("task", "collection", "cluster", "kind", "source", "templates", "inverted", "splits")
    ]
    assert lines[1].split() == [
        *("third", "yours", "nli", "classification", "jsonl:.", "3", "1", "train", "test")
    ]
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--collection", "mime"], "collection 'mime' is unknown; did you mean 'mine'?"),
        (["--collection", "yours", "--cluster", "qa"], "cluster 'qa' is unknown; there are: nli"),
    ],
)
def test_an_unknown_place(
    root: Path, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["tasks", *flags]) == 2
    assert capsys.readouterr().err == f"flanmix: {says}\n"


def test_mixtures(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mixtures", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = {row["name"]: row["tasks"] for row in json.loads(out)}
    assert rows["both"] == 2
    assert rows["all_mine"] == 3
    assert "bad" not in rows
    assert "'gone'" in err
    assert cli.main(["mixtures"]) == 0
    assert "both" in capsys.readouterr().out
