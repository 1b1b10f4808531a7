"""The mixture card: exact shares, measured tokens, and a page that stands by itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flanmix import cli
from flanmix.data.vocabulary import load_vocabulary
from tests.pages.reader import Page
from tests.verbs.collection import make_records, make_rows, store_task, write_task

SIZES = {"small": 10, "middle": 30, "large": 100}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three tasks in clusters of their own, mixed with a cap of 40 and prepared."""
    folder = tmp_path / "tasks"
    for name, size in SIZES.items():
        place = f"mine/c_{name}/{name}"
        write_task(folder, place, make_rows(size))
        store_task(folder, place, tmp_path / "store", make_records(size))
    (folder / "mine" / "mixtures.yaml").write_text(
        "capped: {tasks: [mine], cap: 40, templates: [0, 1], loss_weights: {small: 2.0}}\n"
        "nested: {tasks: [capped, large], rate: explicit, rates: {capped: 1, large: 3}}\n"
        "shots: {tasks: [mine], few_shot: 2, few_shot_share: 1.0}\n"
        'odd: {tasks: [mine], rate: equal}\n"<b>": {tasks: [mine]}\n'
    )
    monkeypatch.setenv("FLANMIX_TASKS", str(folder))
    return folder


def card(capsys: pytest.CaptureFixture[str], tmp_path: Path, *argv: str) -> dict[str, Any]:
    assert cli.main(["mixture", *argv, "--store", str(tmp_path / "store"), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rates_and_shares(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = card(capsys, tmp_path, "capped")
    tasks = {task["name"]: task for task in found["tasks"]}
    assert found["name"] == "capped"
    assert found["total_rate"] == 80
    assert {name: task["rate"] for name, task in tasks.items()} == {
        "small": 10,
        "middle": 30,
        "large": 40,
    }
    assert {name: task["capped_at"] for name, task in tasks.items()} == {
        "small": None,
        "middle": None,
        "large": 40,
    }
    assert tasks["large"]["share"] == 0.5
    assert tasks["large"]["epochs_per_million"] == 1e6 * 0.5 / 100
    assert tasks["large"]["templates"] == 2
    assert tasks["large"]["cluster"] == "c_large"
    assert tasks["large"]["examples"] == 100


def test_tokens_are_those_of_the_rendered_records(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = card(capsys, tmp_path, "capped", "--vocabulary", "byte")
    tasks = {task["name"]: task for task in found["tasks"]}
    assert found["unknown_share"] == 0
    for task in tasks.values():
        # Every second answer is yes, the others no; a byte a character, and EOS.
        assert task["targets_tokens"] == pytest.approx(3.5)
    assert sum(task["share_of_tokens"] for task in tasks.values()) == pytest.approx(1)
    losses = {name: task["share_of_loss"] for name, task in tasks.items()}
    assert losses == pytest.approx({"small": 20 / 90, "middle": 30 / 90, "large": 40 / 90})
    once = tasks["middle"]["inputs_tokens"]
    shots = {t["name"]: t for t in card(capsys, tmp_path, "shots", "--vocabulary", "byte")["tasks"]}
    assert shots["middle"]["inputs_tokens"] > 2.5 * once


def test_unknown_tokens_are_counted(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = card(capsys, tmp_path, "odd")
    vocabulary = load_vocabulary("pocket")
    ids = vocabulary.encode("It rains 1. Then Wet 1?")
    assert found["vocabulary"] == "pocket"
    assert (found["unknown_share"] > 0) == (vocabulary.unk_id in ids)


def test_a_nested_mixture(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = card(capsys, tmp_path, "nested")
    shares = {task["name"]: task["share"] for task in found["tasks"]}
    assert shares == pytest.approx({"small": 1 / 32, "middle": 3 / 32, "large": 28 / 32})
    assert sum(shares.values()) == pytest.approx(1)


def test_what_is_not_trained_on_is_named_and_has_no_share(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_task(root, "mine/c_small/later", make_rows(5))
    write_task(root, "mine/c_small/judge", make_rows(5))
    judge = root / "mine" / "c_small" / "judge.yaml"
    judge.write_text(re.sub("splits: .*", 'splits: {test: "rows.jsonl"}', judge.read_text()))
    found = card(capsys, tmp_path, "odd")
    assert (found["absent"], found["for_evaluation"]) == (["later"], ["judge"])
    assert {task["name"]: task["share"] for task in found["tasks"]} == pytest.approx(
        dict.fromkeys(SIZES, 1 / 3)
    )
    page = tmp_path / "card.html"
    argv = ["mixture", "odd", "--store", str(tmp_path / "store"), "--html", str(page)]
    assert cli.main(argv) == 0
    assert "not on the card: later; run: flanmix prepare odd" in capsys.readouterr().err
    assert "Not prepared, and not in these figures: later." in page.read_text()
    assert "Without a training split: judge." in page.read_text()
    assert cli.main(["mixture", "judge"]) == 2
    assert "no task with a training split" in capsys.readouterr().err


def test_without_a_store(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mixture", "capped", "--json"]) == 0
    out, err = capsys.readouterr()
    assert all(task["examples"] is None for task in json.loads(out)["tasks"])
    assert "nothing is prepared" in err
    assert cli.main(["mixture", "capped"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["task", "cluster", "examples"]
    assert len(lines) == 5


def test_the_page(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "card.html"
    card(capsys, tmp_path, "<b>", "--html", str(path))
    page = Page(path.read_text())
    assert "Mixture <b>" in page.texts
    assert set(SIZES) <= set(page.texts)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["cappd"], "did you mean 'capped'?"),
        (["capped", "--store", "/nowhere"], "store /nowhere is no folder"),
        (["capped", "--html", "/nowhere/card.html"], "can't be written"),
    ],
)
def test_a_mistake_is_one_line(
    root: Path, argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["mixture", *argv]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("flanmix: ")
    assert says in lines[-1]
