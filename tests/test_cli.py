"""The command line answers at once, imports nothing heavy for it, and says mistakes in one line."""

import json
import subprocess
import sys

import pytest

from flanmix import cli
from tests.conftest import ROOT


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize("argv", [["--help"], *([verb, "--help"] for verb in cli.VERBS)])
def test_help_imports_only_the_standard_library(argv: list[str]) -> None:
    """Help comes at once, because of ours it imports the command line alone, and no library."""
    program = (
        "import json, sys; before = set(sys.modules); from flanmix import cli; "
        "code = cli.main(sys.argv[1:]); print(json.dumps(sorted(set(sys.modules) - before))); "
        "sys.exit(code)"
    )
    done = run_python("-c", program, *argv)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: flanmix")
    imported = json.loads(done.stdout.splitlines()[-1])
    ours = {name for name in imported if name.partition(".")[0] == "flanmix"}
    assert ours == {"flanmix", "flanmix.cli", "flanmix.errors"}
    others = {name.partition(".")[0] for name in set(imported) - ours}
    assert others <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "which verb"),
        (["trian"], "did you mean 'train'?"),
        (["show"], "TASK"),
        (["show", "rte", "-n", "0"], "'0' is not a whole number from 1 up"),
        (["show", "rte", "--template", "x"], "'x' is not a whole number"),
        (["show", "rte", "--tokenz"], "did you mean '--tokens'?"),
        (["prepare", "--store", "s"], "NAME"),
        (["prepare", "rte"], "--store"),
        (["prepare", "rte", "--stor", "s"], "did you mean '--store'?"),
        (["prepare", "rte", "--store"], "expected one argument"),
        (["tasks", "rte"], "unrecognized arguments: rte"),
        (["tasks", "--gin.STEPS=3"], "unknown flag '--gin.STEPS'"),
        (["train"], "--gin_file"),
        (["train", "--gin_fil=x"], "did you mean '--gin_file'?"),
        (["train", "--gin_file", "x", "--gin.STEPS"], "--gin.STEPS"),
        (["train", "--gin_file", "x", "--gin.=3"], "--gin.NAME=VALUE"),
        (["generate"], "--checkpoint"),
    ],
)
def test_a_mistake_is_one_line(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("flanmix: ")
    assert err.count("\n") == 1
    assert says in err


def test_gin_bindings_are_forwarded() -> None:
    argv = ["--gin_file=a.gin", "--gin.STEPS=200", "--gin_file", "b.gin"]
    argv += ["--gin.RUN_DIR='/data/a b'", "--gin.T5Config.d_model = 8", "--gin_search_paths=p"]
    args = cli.parse("train", argv)
    assert args.gin_file == ["a.gin", "b.gin"]
    assert args.gin_search_paths == ["p"]
    assert args.gin_bindings == ["STEPS=200", "RUN_DIR='/data/a b'", "T5Config.d_model = 8"]


def test_names_may_stand_on_both_sides_of_a_flag() -> None:
    args = cli.parse("prepare", ["a", "--store", "s", "b"])
    assert (args.names, args.store) == (["a", "b"], "s")


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "flanmix: interrupted\n"),
        (OSError(28, "No space left on device", "/s/x"), 2, "flanmix: the system refused: "),
    ],
)
def test_the_end_of_a_verb(
    raised: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(argv: list[str]) -> int:
        raise raised

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main(["tasks"]) == code
    err = capsys.readouterr().err
    assert err.startswith(line)
    assert err.count("\n") == 1
