"""What the README says is so: its example task works, and its page of verbs is the parsers'."""

import json
import re
from pathlib import Path

import pytest

from flanmix import cli
from tests import documentation
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds the README's files."""
    monkeypatch.chdir(tmp_path)
    for name, text in documentation.files(README).items():
        documentation.write(name, text)
    monkeypatch.delenv("FLANMIX_TASKS", raising=False)
    return tmp_path


def test_the_example_works(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(documentation.files(README)["tasks/mine/weather/umbrella.yaml"].splitlines()) < 40
    assert cli.main(["check", "umbrella", "rainy_days"]) == 0
    assert cli.main(["prepare", "umbrella", "--store", "store", "--json"]) == 0
    capsys.readouterr()
    assert cli.main(["check", "umbrella", "--store", "store"]) == 0
    capsys.readouterr()
    assert cli.main(["show", "umbrella", "-n", "2", "--store", "store", "--tokens", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2
    flags = ["--split", "test", "--template", "0", "-n", "9", "--json"]
    assert cli.main(["show", "umbrella", *flags]) == 0
    shown = {row["inputs"]: row["targets"] for row in json.loads(capsys.readouterr().out)}
    asked = "Should I take an umbrella?\nOptions:\n- no\n- yes"
    assert shown == {
        f"The forecast for Graz: A thunderstorm in the evening.\n{asked}": "yes",
        f"The forecast for Faro: Not a cloud in the sky.\n{asked}": "no",
    }
    assert cli.main(["mixture", "rainy_days", "--json"]) == 0


def test_its_commands_parse() -> None:
    commands = documentation.commands(README)
    assert len(commands) >= 6
    for verb, *argv in commands:
        cli.parse(verb, argv)


def test_its_page_of_verbs_is_the_parsers() -> None:
    page = README[README.index("## The command line") :]
    shown = {}
    for verb, flags in re.findall(r"^\| `([a-z]+)([^`]*)` \|", page, re.MULTILINE):
        shown[verb] = set(re.findall(r"(?<![\w-])--?[a-zA-Z_]+", flags)) - {"--gin"}
    assert set(shown) == set(cli.VERBS)
    for verb in cli.VERBS:
        declared = {flag for action in cli.parser(verb)._actions for flag in action.option_strings}
        assert shown[verb] == declared - {"-h", "--help", "--json"}, verb


def test_every_command_that_the_interface_has_is_stable() -> None:
    """The flags that people script against; one goes only with a new major version."""
    stable = {
        "tasks": "--collection --cluster --json",
        "mixtures": "--json",
        "check": "--store --json",
        "show": "--split -n --template --few_shot --seed --store --tokens --json",
        "prepare": "--store --data_dir --limit --workers --json",
        "mixture": "--against --store --html --json",
        "train": "--gin_file --gin_search_paths",
        "evaluate": "--gin_file --gin_search_paths --json",
        "generate": "--checkpoint --prompt --input --json",
        "report": "--html --json",
    }
    for verb, flags in stable.items():
        declared = {flag for action in cli.parser(verb)._actions for flag in action.option_strings}
        assert set(flags.split()) <= declared
