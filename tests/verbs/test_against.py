"""The card against test records: figures, JSON, page, and mistakes in one line."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flanmix import cli, console
from flanmix.data.store.store import Store
from flanmix.registry.card import load_card
from flanmix.registry.record import Record
from tests.pages.reader import Page
from tests.registry.cards import CARD, write_card

LONG = "one day a fox came to a wide river and asked the old ferryman to take it across"
SPLITS = {
    "fox": {
        "train": [(LONG, "The fox asks."), ("It rains in Graz.", "It is wet.")],
        "test": [("It rains, in Graz!", "it is WET"), ("Snow.", "Cold."), (f"So {LONG}", "<b>")],
    },
    "river": {
        "train": [("The fox " + " ".join(LONG.split()[4:13]), "x")],
        "validation": [(LONG, "The fox asks."), ("A river.", "Water.")],
    },
    "bare": {"test": [("Nothing like it.", "No.")]},
    "unseen": {"train": [("Far away.", "Near.")]},
}
WITHOUT = 'splits: {{train: "rows.jsonl[:-2]", test: "rows.jsonl[-2:]"}}'


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tasks with different splits, all prepared but the last, `late`."""
    folder = tmp_path / "tasks"
    written = Store(tmp_path / "store")
    for name, splits in {**SPLITS, "late": {"train": [], "test": []}}.items():
        shown = ", ".join(f"{split}: rows.jsonl" for split in splits)
        text = CARD.replace(WITHOUT, f"splits: {{{{{shown}}}}}").format(name=name)
        path = write_card(folder, f"mine/c/{name}", text)
        (path.parent / "rows.jsonl").write_text("")
        for split, rows in splits.items() if name != "late" else ():
            records = [
                Record(f"{split}-{i}", {"premise": a, "hypothesis": b}, ("yes",), ("yes", "no"))
                for i, (a, b) in enumerate(rows)
            ]
            written.write(load_card(path), split, records)
    (folder / "mine" / "mixtures.yaml").write_text(
        "both: {tasks: [fox, river]}\ntested: {tasks: [fox, river, bare]}\n"
    )
    monkeypatch.setenv("FLANMIX_TASKS", str(folder))
    return str(written.root)


def against(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert cli.main(["mixture", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["against"]


def test_the_figures(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = against(capsys, "both", "--against", "tested", "--store", store)
    assert found["mixture"] == "tested"
    keys = ("name", "split", "records", "duplicates", "contained", "shared_13", "shared_8")
    assert [tuple(task[key] for key in keys) for task in found["tasks"]] == [
        ("bare", "test", 1, 0, 0, 0, 0),
        ("fox", "test", 3, 1, 1, 1, 1),
        ("river", "validation", 2, 1, 1, 1, 1),
    ]
    keys = ("task", "other", "duplicates", "contained", "shared_13", "shared_8")
    assert [tuple(pair[key] for key in keys) for pair in found["pairs"]] == [
        ("fox", "fox", 1, 1, 1, 1),
        ("fox", "river", 1, 1, 1, 1),
        ("river", "river", 0, 0, 0, 1),
        ("river", "fox", 0, 0, 0, 1),
    ]
    assert found["pairs"][0]["worst"] == {
        "record": "test-2",
        "train_record": "train-0",
        "words": LONG,
    }
    assert found["pairs"][3]["worst"] == {
        "record": "test-2",
        "train_record": "train-0",
        "words": " ".join(LONG.split()[3:13]),
    }


def test_a_task_without_training_records_is_said(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["mixture", "tested", "--against", "bare", "--store", store]
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    assert "flanmix: without a training split, and not on the card: bare" in err
    assert "no pair of tasks shares 8 words in a row" in out


def test_the_text_and_the_page(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "card.html"
    argv = ["mixture", "both", "--against", "tested", "--store", store, "--html", str(path)]
    assert cli.main(argv) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["fox", "test", "3", *["1", "33.33"] * 4] in lines
    shown = ["fox", "fox", *["1", "33.33"] * 4, "18", "test-2", "train-0"]
    assert [*shown, *LONG.split()[:12], "..."] in lines
    page = Page(path.read_text())
    assert {"Against tested", "1 (33.33%)", LONG, "18 words of test-2 and train-0"} <= {*page.texts}
    assert cli.main(["mixture", "both", "--store", store, "--html", str(path)]) == 0
    assert "Against" not in path.read_text()


def test_it_works_with_what_is_there_and_names_the_rest(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "card.html"
    argv = ["mixture", "mine", "--against", "mine", "--store", store, "--html", str(path), "--json"]
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    assert "flanmix: not prepared, and not on the card: late; run: flanmix prepare mine" in err
    assert "flanmix: test tasks that are not prepared, and not compared: late" in err
    assert "flanmix: without a test or validation split, and not compared: unseen" in err
    found = json.loads(out)["against"]
    assert (found["absent"], found["absent_tests"]) == (["late"], ["late"])
    assert found["without_tests"] == ["unseen"]
    assert {task["name"]: task["duplicates"] for task in found["tasks"]} == {
        **{"bare": 0, "fox": 1},
        "river": 1,
    }
    assert (
        "Test tasks that are not prepared, and not compared: late." in Page(path.read_text()).text
    )


def test_it_says_what_is_compared(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["mixture", "both", "--against", "tested", "--store", store]
    assert cli.main(argv) == 0
    text = capsys.readouterr().out
    told = " ".join(against(capsys, *argv[1:])["compared"])
    for said in ("where it has no options, its rationale and answers", "not seen: options and"):
        assert said in text
        assert said in told


def test_without_against_the_document_has_no_such_key(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["mixture", "both", "--store", store, "--json"]) == 0
    assert "against" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["both", "--against", "tested"], "say where with --store DIR"),
        (["both", "--against", "testde", "--store", "{}"], "did you mean 'tested'?"),
        (["boht", "--against", "tested", "--store", "{}"], "did you mean 'both'?"),
        (["both", "--against", "late", "--store", "{}"], "late; run: flanmix prepare late"),
        (["late", "--against", "fox", "--store", "{}"], "late; run: flanmix prepare late"),
        (["both", "--against", "unseen", "--store", "{}"], "neither a test nor a validation"),
        (["bare", "--against", "fox", "--store", "{}"], "'bare' has no task with a training split"),
        (
            ["both", "--against", "fox", "--store", "{}", "--html", "/nowhere/card.html"],
            "can't be written",
        ),
    ],
)
def test_a_mistake_is_one_line(
    store: str, argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["mixture", *(word.format(store) for word in argv)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("flanmix: ")
    assert says in lines[-1]


def test_a_bar_needs_no_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    with console.bar(2, "record", leave=False) as progress:
        progress.update(2)
        assert not progress.disable
    assert "jax" not in sys.modules
