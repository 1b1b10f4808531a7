"""A folder's Python files are its own, whatever other folders call theirs; what they import is
known from their text."""

import os
import sys
from pathlib import Path

import pytest

from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.imports import code_files
from flanmix.registry.user_code import forget_changed, load_function, loaded_hash

CARD = """
name: {name}
version: 1
kind: generation
source: {{jsonl: "."}}
splits: {{train: train.jsonl}}
fields: [question]
answer: answer
templates: [{{inputs: "{{question}}"}}]
metrics: [exact_match]
"""


def write(folder: Path, package: dict[str, str] | None = None, **files: str) -> Path:
    """Writes Python files, those of a package `lib` too."""
    for name, text in (files | {f"lib/{k}": text for k, text in (package or {}).items()}).items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def call(folder: Path, reference: str = "m.py:f") -> object:
    return load_function(folder, reference, "test")()


HOWS = {
    "import": "import common\ndef f(): return common.WHO",
    "import as": "import common as c\ndef f(): return c.WHO",
    "from": "from common import WHO\ndef f(): return WHO",
    "star": "from common import *\ndef f(): return WHO",
    "later": "def f():\n    import common\n    return common.WHO",
    "relative": "from . import common\ndef f(): return common.WHO",
    "by name": "import importlib\nC = importlib.import_module('common')\ndef f(): return C.WHO",
}


@pytest.mark.parametrize("how", HOWS)
def test_each_folder_has_its_own_helper(tmp_path: Path, how: str):
    folders = [write(tmp_path / w, m=HOWS[how], common=f"WHO = '{w}'") for w in "abc"]
    assert [call(folder) for folder in folders] == ["a", "b", "c"]
    assert [call(folder) for folder in reversed(folders)] == ["c", "b", "a"]
    assert "common" not in sys.modules


def test_helpers_of_helpers_and_packages_are_each_folders_own(tmp_path: Path):
    for who in "ab":
        write(
            tmp_path / who,
            m="import lib.words as w, first\ndef f(): return w.WHO + first.WHO",
            first="from second import WHO",
            second=f"WHO = '{who}2'",
            package={
                "__init__": "from .words import WHO",
                "words": f"import second\nWHO = '{who}1' + second.WHO",
            },
        )
    assert [call(tmp_path / who) for who in "ab"] == ["a1a2a2", "b1b2b2"]
    found = code_files(tmp_path / "a" / "m.py")
    assert sorted(found) == ["first.py", "lib/__init__.py", "lib/words.py", "m.py", "second.py"]


def test_folders_of_the_collection_that_a_file_puts_on_the_path(tmp_path: Path):
    head = "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'lib'))"
    before = list(sys.path)
    for who in "ab":
        folder = write(tmp_path / who / "qa", m=f"{head}\nimport words\ndef f(): return words.WHO")
        write(tmp_path / who / "lib", words=f"WHO = '{who}'")
        assert call(folder) == who
        assert sorted(code_files(folder / "m.py")) == ["../lib/words.py", "m.py"]
    assert sys.path == before


def test_a_neighbour_comes_before_the_standard_library_and_never_for_itself(tmp_path: Path):
    write(
        tmp_path,
        m="import statistics, json\ndef f(): return statistics.WHO, json.loads('1')",
        statistics="WHO = 'ours'",
        json="import json\nfrom json import loads",
    )
    assert call(tmp_path) == ("ours", 1)
    import statistics

    assert not hasattr(statistics, "WHO")


def test_what_is_imported_elsewhere_is_shared(tmp_path: Path):
    write(
        tmp_path, m="import flanmix.errors as e\nfrom os import path\ndef f(): return e.UserError"
    )
    assert call(tmp_path) is UserError
    assert list(code_files(tmp_path / "m.py")) == ["m.py"]


def test_a_mistake_names_the_modules_as_the_user_does(tmp_path: Path):
    write(tmp_path, m="import lib.nothing", package={"__init__": ""})
    with pytest.raises(UserError, match=r"m\.py fails to load: .*No module named 'lib\.nothing'"):
        call(tmp_path)


def test_a_changed_helper_is_loaded_anew_though_its_size_and_second_are_the_same(tmp_path: Path):
    write(tmp_path, m=HOWS["import"], common="WHO = 1")
    assert call(tmp_path) == 1
    first = loaded_hash(tmp_path / "common.py")
    stamp = (tmp_path / "common.py").stat().st_mtime
    write(tmp_path, common="WHO = 2")
    os.utime(tmp_path / "common.py", (stamp, stamp))
    forget_changed()
    assert call(tmp_path) == 2
    assert loaded_hash(tmp_path / "common.py") != first
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_computed_import_may_mean_any_neighbour(tmp_path: Path):
    write(
        tmp_path, m="import importlib\nfor n in 'ab': importlib.import_module(n)", a="", b="", c=""
    )
    assert sorted(code_files(tmp_path / "m.py")) == ["a.py", "b.py", "c.py", "m.py"]
    write(tmp_path, m="import importlib\nimportlib.import_module('a')")
    assert sorted(code_files(tmp_path / "m.py")) == ["a.py", "m.py"]


def test_circles_and_broken_files_end(tmp_path: Path):
    write(tmp_path, m="import a", a="import b", b="import a, broken", broken="def (")
    assert sorted(code_files(tmp_path / "m.py")) == ["a.py", "b.py", "broken.py", "m.py"]
    assert code_files(tmp_path / "none.py") == {}


def test_a_function_of_a_folder_that_has_changed_still_imports(tmp_path: Path):
    write(tmp_path, m=HOWS["later"], common="WHO = 1")
    function = load_function(tmp_path, "m.py:f", "test")
    write(tmp_path, m=HOWS["later"] + "\n\n", common="WHO = 22")
    forget_changed()
    assert function() in (1, 22)
    assert call(tmp_path) == 22


def test_a_file_that_is_named_from_a_folder_below(tmp_path: Path):
    write(tmp_path / "mine" / "qa", m="")
    write(tmp_path / "mine", gen=HOWS["import"].replace("common", "words"))
    write(tmp_path / "mine" / "lib", words="WHO = 1")
    assert sorted(code_files(tmp_path / "mine" / "qa" / ".." / "gen.py")) == [
        "gen.py",
        "lib/words.py",
    ]


ADAPTER = """
from readers import NAME
from flanmix.registry.collections import Entry

def entries(folder):
    def load():
        from readers import missing
        missing()
    yield Entry(f"{folder.name}_{NAME}", folder.name, "all", load)
"""
TRANSFORM = "from words import KEPT\ndef only(mixture, _):\n    return keep(mixture)\n"
TRANSFORM += "import dataclasses\ndef keep(mixture):\n    tasks = mixture.tasks[:KEPT]\n"
TRANSFORM += "    return dataclasses.replace(mixture, tasks=tasks)\n"


def test_collections_and_mixtures_have_their_own_helpers_too(tmp_path: Path):
    for number, who in enumerate("ab", start=1):
        missing = f"from flanmix.errors import UserError\ndef missing(): raise UserError('{who}')"
        write(
            tmp_path / who,
            collection=ADAPTER,
            readers=f"NAME = '{who}'\n{missing}",
            transforms=TRANSFORM,
            words=f"KEPT = {number}",
        )
        body = f"{who}_mix: {{tasks: [{who}/qa], transform: transforms.py:only}}\n"
        (tmp_path / who / "mixtures.yaml").write_text(body)
        (tmp_path / who / "qa").mkdir()
        for name in "xyz":
            text = CARD.format(name=f"{who}{name}")
            (tmp_path / who / "qa" / f"{who}{name}.yaml").write_text(text)
    catalogue = Catalogue([tmp_path])
    assert {"a_a", "b_b"} <= set(catalogue.names())
    for who in "ab":
        with pytest.raises(UserError, match=f"^{who}$"):
            catalogue.task(f"{who}_{who}")
    assert catalogue.expand("a_mix") == ["ax"]
    assert catalogue.expand("b_mix") == ["bx", "by"]
