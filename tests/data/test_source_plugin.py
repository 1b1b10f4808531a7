"""A source from outside the package is one file with one registration, in every verb."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PLUGIN = """
from flanmix.data.sources.api import register_source
from flanmix.data.sources.slices import sliced


class Fixed:
    cheap, own_splits, settings = True, True, ("width", "split_at")

    def __init__(self, cheap=True):
        self.cheap = cheap

    def files(self, task, data_dir):
        return {"fixed": task.folder / task.source.location}

    def rows(self, task, split, expression, *, data_dir, warn):
        return sliced(lambda name: self._rows(task, name), expression, warn)

    def _rows(self, task, name):
        width = task.source.settings["width"]
        lines = (task.folder / task.source.location).read_text().splitlines()
        for number, line in enumerate(lines):
            if line.startswith(name):
                text, answer = line[len(name):width].strip(), line[width:]
                yield f"line {number}", {"text": text, "answer": answer}


register_source("fixed", Fixed())
register_source("dear", Fixed(cheap=False))
"""
CARD = """
name: {name}
version: 1
kind: generation
source: {source}
splits: {{train: "a[:-1]", test: "a[-1:]"}}
fields: [text]
answer: answer
templates: [{{inputs: "{{text}}"}}]
metrics: [exact_match]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cards = tmp_path / "tasks" / "mine" / "all"
    cards.mkdir(parents=True)
    (tmp_path / "fixed_width.py").write_text(PLUGIN)
    (cards / "lines.txt").write_text("".join(f"a one {i}   {i}\n" for i in range(9)))
    for name, source in {
        "one": "{fixed: lines.txt, width: 10}",
        "two": "{width: 10, fixed: lines.txt}",
        "slow": "{dear: lines.txt, width: 10}",
    }.items():
        (cards / f"{name}.yaml").write_text(CARD.format(name=name, source=source))
    return tmp_path


def flanmix(folder: Path, *argv: str, plugins: str = "fixed_width") -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLANMIX_PLUGINS": plugins}
    environment.pop("FLANMIX_TASKS", None)
    return subprocess.run(
        [sys.executable, "-m", "flanmix", *argv],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_registered_source_is_checked_shown_and_prepared(folder: Path):
    checked = flanmix(folder, "check", "mine", "--json")
    assert json.loads(checked.stdout) == {"checked": 3, "problems": []}, checked.stderr
    shown = flanmix(folder, "show", "one", "--split", "test", "--json")
    assert [row["targets"] for row in json.loads(shown.stdout)] == ["8"], shown.stderr
    dear = flanmix(folder, "show", "slow")
    assert "flanmix prepare slow --store DIR" in dear.stderr
    for workers in ("2", "1"):
        argv = ["mine", "--store", f"store{workers}", "--workers", workers, "--json"]
        prepared = flanmix(folder, "prepare", *argv)
        rows = json.loads(prepared.stdout)["prepared"]
        assert [(row["task"], row["records"]) for row in rows if row["split"] == "train"] == [
            ("one", 8),
            ("slow", 8),
            ("two", 8),
        ], prepared.stderr
    again = flanmix(folder, "prepare", "mine", "--store", "store1", "--json")
    assert json.loads(again.stdout)["skipped"] == ["one", "slow", "two"]
    with (folder / "tasks" / "mine" / "all" / "lines.txt").open("a") as lines:
        lines.write("a ten      10\n")
    changed = flanmix(folder, "prepare", "mine", "--store", "store1", "--json")
    assert json.loads(changed.stdout)["skipped"] == []


def test_without_the_plugin_the_source_is_unknown_by_name(folder: Path):
    checked = flanmix(folder, "check", "one", "--json", plugins="")
    (problem,) = json.loads(checked.stdout)["problems"]
    assert problem["message"].startswith("task 'one': source 'fixed' is unknown")
    shown = flanmix(folder, "show", "one", plugins="")
    assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)
    prepared = flanmix(folder, "prepare", "one", "--store", "store", "--json", plugins="")
    (failed,) = json.loads(prepared.stdout)["failed"]
    assert "source 'fixed' is unknown" in failed["error"]
