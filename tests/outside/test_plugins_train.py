"""An architecture, a loss, a source and a metric from outside train, score and answer."""

import json
import shutil
from pathlib import Path

import pytest

from tests.train.training import Workplace

CARD = """
name: copy_word
version: 1
kind: generation
source: {lines: "."}
splits: {train: "words.txt[:-10]", test: "words.txt[-10:]"}
fields: {text: text}
answer: answer
templates:
  - inputs: "Copy {text}"
metrics: [first_letter]
"""
GIN = """
include 'gin/runs/instruct.gin'
MODEL = @BagConfig()
BagConfig.width = 24
TrainConfig.loss = @Focal()
Focal.gamma = 0.5
Schedule.rate = 0.05
VOCABULARY = 'byte'
MIXTURE = 'copy_word'
BATCH_SIZE = 4
INPUTS_LENGTH = 24
TARGETS_LENGTH = 8
STEPS = 12
Evaluation.groups = {'all': 'copy_word'}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder with a plugin, a task that it reads, and a gin file that names its parts."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(Path(__file__).parent / "lab.py", folder / "lab.py")
    cluster = folder / "tasks" / "lab" / "letters"
    cluster.mkdir(parents=True)
    (cluster / "copy_word.yaml").write_text(CARD)
    words = [f"{letter}{number}" for number in range(5) for letter in "abcdefgh"]
    (cluster / "words.txt").write_text("".join(f"{word} = {word}\n" for word in words))
    (folder / "lab.gin").write_text(GIN)
    return Workplace(folder, {"FLANMIX_PLUGINS": "lab"})


def flags(lab: Workplace) -> list[str]:
    return ["--gin_file=lab.gin", f"--gin.RUN_DIR={lab.folder / 'run'}", "--gin.STORE=store"]


def test_everything_from_outside_is_prepared_trained_and_scored(lab: Workplace) -> None:
    lab.flanmix("check", "copy_word")
    shown = json.loads(lab.flanmix("show", "copy_word", "--json").stdout)
    assert shown[0]["inputs"].startswith("Copy ")
    done = lab.flanmix("prepare", "copy_word", "--store", "store", "--workers", "2", "--json")
    assert [row["records"] for row in json.loads(done.stdout)["prepared"]] == [30, 10]
    lab.flanmix("train", *flags(lab))
    lines = lab.lines("run")
    assert lines[-1]["loss"] < lines[0]["loss"]
    scores = json.loads((lab.folder / "run" / "scores.json").read_text())
    assert set(scores["tasks"]["copy_word"]) == {"first_letter"}
    again = json.loads(lab.flanmix("evaluate", *flags(lab), "--json").stdout)
    assert again["tasks"] == scores["tasks"]
    answer = lab.flanmix("generate", "--checkpoint", "run", "--prompt", "Copy a1", "--json")
    assert json.loads(answer.stdout)[0]["prompt"] == "Copy a1"


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("", "source 'lines' is unknown"),
        ("labb", "plugin 'labb' (named in FLANMIX_PLUGINS) is not found"),
    ],
)
def test_without_the_plugin_one_line_says_so(lab: Workplace, plugin: str, message: str) -> None:
    bare = Workplace(lab.folder, {"FLANMIX_PLUGINS": plugin})
    done = bare.flanmix("show", "copy_word", check=2)
    assert message in done.stderr and "Traceback" not in done.stderr
