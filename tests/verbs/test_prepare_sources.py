"""`prepare` and what it reads: code that is each folder's own, sources that change, and damage."""

import json
from pathlib import Path

import pytest

from flanmix import cli
from flanmix.data.store.store import Store
from flanmix.registry.catalogue import Catalogue

CARD = """
name: {name}
version: 1
kind: generation
source: {source}
splits: {{train: {split}}}
fields: [question]
answer: answer
{more}
templates: [{{inputs: "{{question}}"}}]
metrics: [exact_match]
"""
MAP = "map: m.py:canonical"
USES_HELPER = """
from common import mark

def canonical(raw):
    return {"question": raw["q"] + mark(), "answer": "a"}

def rows(split):
    yield {"question": "?" + mark(), "answer": "a"}
"""


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path / "tasks"))
    return tmp_path / "tasks" / "mine"


def declare(
    collection: Path, name: str, source: str, mark: str, split: str = "train", more: str = ""
) -> Path:
    """A card in a folder of its own, with a helper of the one name."""
    folder = collection / name
    folder.mkdir(parents=True)
    text = CARD.format(name=name, source=source, split=split, more=more)
    (folder / f"{name}.yaml").write_text(text)
    (folder / "m.py").write_text(USES_HELPER)
    (folder / "common.py").write_text(f"def mark(): return '{mark}'")
    (folder / "train.jsonl").write_text('{"q": "?"}\n')
    return folder


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(*argv: str) -> tuple[int, dict, str]:
        code = cli.main(["prepare", *argv, "--store", str(tmp_path / "store"), "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out), err

    return run


@pytest.fixture
def question(tmp_path: Path, collection: Path):
    def read(name: str) -> str:
        task = Catalogue([collection.parent]).task(name)
        return Store(tmp_path / "store").open(task, "train")[0].fields["question"]

    return read


BY_MAP = {"source": '{jsonl: "."}', "split": "train.jsonl", "more": MAP}
BY_ROWS = {"source": '{python: "m.py:rows"}'}


@pytest.mark.parametrize("how", [BY_MAP, BY_ROWS], ids=["map", "source"])
def test_each_card_has_its_own_helper(collection: Path, prepare, question, how: dict[str, str]):
    for name in ("a", "b"):
        declare(collection, name, mark=name, **how)
    assert prepare("mine")[0] == 0
    assert [question(name) for name in ("a", "b")] == ["?a", "?b"]


@pytest.mark.parametrize("how", [BY_MAP, BY_ROWS], ids=["map", "source"])
def test_an_edited_helper_is_not_up_to_date(
    collection: Path, prepare, question, capsys: pytest.CaptureFixture[str], how: dict[str, str]
):
    folder = declare(collection, "a", mark="a", **how)
    declare(collection, "b", mark="b", **how)
    (folder / "unrelated.py").write_text("")
    assert prepare("mine")[0] == 0
    (folder / "unrelated.py").write_text("1")
    assert prepare("mine")[1]["skipped"] == ["a", "b"]
    (folder / "common.py").write_text("def mark(): return 'A'")
    store = str(collection.parent.parent / "store")
    assert cli.main(["check", "mine", "--store", store]) == 1
    said = capsys.readouterr().out
    assert "prepared by other code" in said and "common.py has changed since" in said
    assert prepare("mine")[1]["skipped"] == ["b"]
    assert question("a") == "?A"


def test_what_a_helper_package_imports_counts_too(collection: Path, prepare, question):
    folder = declare(collection, "a", mark="a", **BY_MAP)
    (folder / "lib").mkdir()
    (folder / "common.py").write_text("from lib.words import mark")
    (folder / "lib" / "words.py").write_text("def mark(): return 1 * 'x'")
    assert prepare("a")[0] == 0
    assert prepare("a")[1]["skipped"] == ["a"]
    (folder / "lib" / "words.py").write_text("def mark(): return 2 * 'x'")
    assert prepare("a")[1]["skipped"] == []
    assert question("a") == "?xx"


CHANGES = {
    "replaced": "import os\n    os.replace(here / 'new', here / 'train.jsonl')",
    "in place": "(here / 'train.jsonl').write_text('{\"q\": \"!\"}\\n')",
    "appended": "(here / 'train.jsonl').open('a').write('\\n')",
    "removed": "(here / 'train.jsonl').unlink()",
    "its own code": "pathlib.Path(__file__).write_text('')",
    "its helper": "(here / 'common.py').write_text('')",
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_source_that_changes_meanwhile_is_one_line_and_no_hash(
    collection: Path, prepare, how: str
):
    folder = declare(collection, "a", mark="a", **BY_MAP)
    (folder / "new").write_text('{"q": "!"}\n')
    head = "import pathlib, common\ndef canonical(raw):\n    here = pathlib.Path(__file__).parent\n"
    (folder / "m.py").write_text(
        f"{head}    {CHANGES[how]}\n    return {{'question': '?', 'answer': 'a'}}"
    )
    code, done, _ = prepare("a")
    assert code == 2
    (failed,) = done["failed"]
    assert "changed while it was being prepared" in failed["error"]
    assert "run the same command again" in failed["error"]
    assert not (collection.parent.parent / "store" / "a").exists()
    assert not (collection.parent.parent / "store" / ".partial").exists()


@pytest.mark.parametrize("value", [-5, "12", 1.5, None, True, 2])
def test_an_edited_manifest_is_said_and_prepared_again(
    collection: Path, prepare, question, value: object
):
    declare(collection, "a", mark="a", **BY_MAP)
    prepare("a")
    path = collection.parent.parent / "store" / "a" / "manifest.json"
    values = json.loads(path.read_text())
    values["splits"]["train"]["records"] = value
    path.write_text(json.dumps(values))
    code, done, err = prepare("a")
    assert (code, done["skipped"], done["failed"]) == (0, [], [])
    (warning,) = [line for line in err.splitlines() if "warning" in line]
    assert "is corrupt" in warning and warning.endswith(": it is prepared again")
    assert question("a") == "?a"
