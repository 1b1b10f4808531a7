"""`gs://bucket/store` is no path: refused before anything is made, wherever a path can be given."""

from pathlib import Path

import pytest

from flanmix import cli
from flanmix.data.store.store import Store
from flanmix.errors import UserError
from flanmix.learn.checkpoint import open_checkpoint
from flanmix.registry.paths import check_local

FLAGS = [
    ["check", "--store"],
    ["check", "--vocabulary"],
    ["show", "pocket_nli", "--store"],
    ["show", "pocket_nli", "--vocabulary"],
    ["prepare", "pocket", "--store"],
    ["prepare", "pocket", "--store=s", "--data_dir"],
    ["mixture", "pocket", "--store"],
    ["mixture", "pocket", "--html"],
    ["mixture", "pocket", "--vocabulary"],
    ["generate", "--prompt", "a", "--checkpoint"],
    ["generate", "--checkpoint", "c", "--input"],
    ["report"],
    ["report", "a", "--html"],
]
MACROS = ["RUN_DIR", "STORE", "VOCABULARY", "INITIALIZE_FROM", "DATA_DIR"]


def one_line(argv, capfd):
    assert cli.main(argv) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Works in a folder that is empty, and still is after the test."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", FLAGS, ids=" ".join)
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_flag_that_takes_a_path_takes_no_address(argv, scheme, capfd):
    line = one_line([*argv, f"{scheme}://bucket/x"], capfd)
    assert f"is '{scheme}://bucket/x': an address ({scheme}://...)" in line


@pytest.mark.parametrize("verb", ["train", "evaluate"])
@pytest.mark.parametrize("macro", MACROS)
def test_a_setting_that_is_a_path_is_no_address(verb, macro, capfd):
    given = {"RUN_DIR": "a", "STORE": "s"} | {macro: "gs://bucket/x"}
    gin = [f"--gin.{name}={value}" for name, value in given.items()]
    line = one_line([verb, "--gin_file=gin/recipes/quickstart.gin", *gin], capfd)
    assert f"{macro} is 'gs://bucket/x': an address (gs://...)" in line


def test_every_flag_with_a_path_is_looked_at():
    """A new flag for a folder or a file is declared with a name that says so."""
    for name in cli.VERBS:
        for action in cli.parser(name)._actions:
            words = set((action.help or "").split()) | {str(action.metavar)}
            takes_path = action.nargs != 0 and words & {"folder", "file", "DIR", "FILE"}
            if takes_path and "gin" not in words:
                assert action.metavar in cli._PATHS, (name, action.dest)


def test_in_python_it_is_an_error_too():
    for opens in (Store, open_checkpoint, lambda path: Store(Path(path))):
        with pytest.raises(UserError, match="address"):
            opens("gs://bucket/x")
    for path in ("/data/a", "a", "~/a", "./b:/c", "a b/c", "C4/x:y"):
        check_local(path, "STORE")
