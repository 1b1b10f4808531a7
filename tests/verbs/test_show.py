"""`show` prints what a model will see: escaped, reproducible, its loss on the targets alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from flanmix import cli
from flanmix.data.vocabulary import load_vocabulary
from tests.registry.cards import CARD, write_card
from tests.verbs.collection import make_records, make_rows, store_task, write_task

PLACE = "mine/nli/toy"
NASTY = {"text": {"premise": "a\x00b \x1b[31m {answer} \u202e 😀"}, "hypothesis": "h", "label": 0}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection of one task."""
    folder = tmp_path / "tasks"
    write_task(folder, PLACE, make_rows(12))
    monkeypatch.setenv("FLANMIX_TASKS", str(folder))
    return folder


def show(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    assert cli.main(["show", "toy", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rendered_examples(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = show(capsys, "-n", "1", "--template", "0", "--split", "test")
    number = int(row["record"].removeprefix("test-")) + 10
    assert row["inputs"] == f"It rains {number}. Then Wet {number}?\nOptions:\n- yes\n- no"
    assert row["targets"] == ["yes", "no"][number % 2]
    assert (row["task"], row["template"], row["options"]) == ("toy", 0, ["yes", "no"])


def test_the_seed_decides(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = show(capsys, "-n", "5", "--seed", "1")
    assert show(capsys, "-n", "5", "--seed", "1") == shown
    assert show(capsys, "-n", "5", "--seed", "2") != shown
    assert len({row["record"] for row in shown}) == 5


def test_from_the_store(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store_task(root, PLACE, tmp_path / "store", make_records(30))
    rows = show(capsys, "-n", "30", "--store", str(tmp_path / "store"))
    assert {row["record"] for row in rows} == {f"train-{i}" for i in range(30)}


def test_tokens_bear_loss_on_the_targets_alone(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("byte", "pocket"):
        vocabulary = load_vocabulary(name)
        for row in show(capsys, "-n", "4", "--tokens", "--vocabulary", name):
            inputs = [*vocabulary.encode(row["inputs"]), vocabulary.eos_id]
            targets = [*vocabulary.encode(row["targets"]), vocabulary.eos_id]
            assert row["ids"] == inputs + targets
            assert row["loss"] == [0] * len(inputs) + [1] * len(targets)
            assert row["tokens"] == vocabulary.pieces(row["ids"])
    assert cli.main(["show", "toy", "--tokens", "-n", "1", "--template", "0"]) == 0
    assert "[</s>]" in capsys.readouterr().out


def test_a_decoder_reads_its_start_and_the_separator(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocabulary = load_vocabulary("byte")
    decoder = ("--tokens", "--vocabulary", "byte", "--architecture", "causal")
    for said, separator in (((), "\n"), (("--separator", " = "), " = "), (("--separator", ""), "")):
        (row,) = show(capsys, "-n", "1", *decoder, *said)
        read = [0, *vocabulary.encode(row["inputs"] + separator)]
        written = [*vocabulary.encode(row["targets"]), 1]
        assert row["ids"] == read + written
        assert row["loss"] == [0] * len(read) + [1] * len(written)
    assert cli.main(["show", "toy", "--tokens", "--separator", " "]) == 2
    assert "an encoder-decoder has" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["train", "test"])
def test_exemplars_come_before_the_query(
    root: Path, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in show(capsys, "-n", "2", "--split", split, "--few_shot", "2", "--template", "0"):
        assert row["inputs"].count("\nAnswer:") == 3
        *before, query = row["inputs"].split("\n\n")
        assert query.split("\n")[0] not in "".join(before)


def test_control_characters_are_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_task(root, PLACE, [NASTY] * 4)
    assert cli.main(["show", "toy", "-n", "1", "--template", "0"]) == 0
    out = capsys.readouterr().out
    assert r"a\x00b \x1b[31m {answer} \u202e 😀 Then h?" in out
    (row,) = show(capsys, "-n", "1", "--template", "0")
    assert row["inputs"].startswith(NASTY["text"]["premise"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["toi"], "task 'toi' is unknown; did you mean 'toy'?"),
        (["toy", "--split", "validation"], "has no split 'validation': it has train, test"),
        (["toy", "--template", "3"], "has no template 3: they count from 0 to 2"),
        (["toy", "--store", "/nowhere"], "store /nowhere is no folder"),
        (["toy", "--tokens", "--vocabulary", "/no.model"], "vocabulary '/no.model'"),
        (["slow"], "flanmix prepare slow --store DIR"),
    ],
)
def test_a_mistake_is_one_line(
    root: Path, argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = CARD.format(name="slow").replace('{jsonl: "."}', '{tfds: "glue/rte:2.0.0"}')
    write_card(root, "mine/nli/slow", slow)
    assert cli.main(["show", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err
