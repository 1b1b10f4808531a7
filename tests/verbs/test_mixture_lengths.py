"""`flanmix mixture` takes a run's lengths from its flags or from its gin files."""

import json
from pathlib import Path
from typing import Any

import pytest

from flanmix import cli
from tests.audit.small_collection import make
from tests.data.chat.models import TEMPLATES

GIN = """
include 'gin/runs/instruct.gin'
include 'gin/models/decoder_tiny.gin'
MIXTURE = 'few'
RUN_DIR = 'runs/a'
VOCABULARY = 'byte'
STEPS = 1
BATCH_SIZE = 6
INPUTS_LENGTH = 60
TARGETS_LENGTH = 20
SEED = 3
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make(tmp_path)
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path / "tasks"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.gin").write_text(GIN)
    return tmp_path


PLAIN = {"format": "plain", "system": None, "chat_template": None}


def card(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert cli.main(["mixture", "all", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_by_flags(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--store", "store", "--vocabulary", "byte"]
    found = card(capsys, *flags, "--inputs_length=60", "--targets_length=20")
    assert found["reading"] == {
        **{"inputs_length": 60, "targets_length": 20, "architecture": "encoder_decoder"},
        **{"seed": 0, "streams": 16, "packed": True, "separator": ""},
        **PLAIN,
    }
    assert found["tasks"][1]["targets_truncated"] == 1
    assert found["tasks"][1]["share_of_loss"] < card(capsys, *flags)["tasks"][1]["share_of_loss"]


def test_by_the_gin_files_of_a_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lengths, architecture, vocabulary, seed and streams; the store too, if none is named."""
    found = card(capsys, "--gin_file=run.gin", "--gin.STORE=store", "--gin.DataConfig.pack=False")
    assert found["vocabulary"] == "byte"
    assert found["reading"] == {
        **{"inputs_length": 60, "targets_length": 20, "architecture": "causal"},
        **{"seed": 3, "streams": 2, "packed": False, "separator": "\n"},
        **PLAIN,
    }
    words = place / "words.jinja"
    words.write_text(TEMPLATES["words"])
    chat = card(
        capsys,
        *("--gin_file=run.gin", "--gin.STORE=store", "--gin.FORMAT=chat"),
        f"--gin.CHAT_TEMPLATE={words}",
    )
    for row, plain in zip(chat["tasks"], found["tasks"], strict=True):
        assert row["inputs_tokens"] == plain["inputs_tokens"] + len("USER: \nASSISTANT: ")
        assert row["targets_tokens"] == plain["targets_tokens"]
    other = ["--gin_file=run.gin", "--store=store", "--vocabulary=pocket"]
    found = card(capsys, *other, "--gin.TARGETS_LENGTH=400")
    assert (found["vocabulary"], found["reading"]["targets_length"]) == ("pocket", 400)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--store=store --inputs_length=60", "--inputs_length and --targets_length go together"),
        ("--store=store --targets_length=60", "go together: give both"),
        ("--inputs_length=60 --targets_length=20", "say where with --store DIR"),
        ("--store=store --inputs_length=1 --targets_length=20", "inputs_length is 1: it must be"),
        ("--store=store --inputs_length=0 --targets_length=20", "not a whole number from 1 up"),
        ("--gin_file=run.gin --inputs_length=60 --store=store", "--gin_file has the lengths"),
        ("--gin.INPUTS_LENGTH=60", "--gin.INPUTS_LENGTH=60 changes a gin file: give one"),
        ("--gin_file=nun.gin --store=store", "no gin file 'nun.gin'"),
        ("--gin_file=run.gin", "no value for STORE"),
    ],
)
def test_a_mistake_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], flags: str, says: str
) -> None:
    assert cli.main(["mixture", "all", *flags.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("flanmix: ")
    assert says in lines[0]
