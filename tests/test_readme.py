"""What the README says is so: its example task works, and its page of verbs is the parsers'."""

import json
import re
from pathlib import Path

import pytest

from flanmix import cli
from flanmix.fields import macros
from flanmix.verbs import gin_config
from tests import documentation
from tests.conftest import ROOT
from tests.convert.folders import llama_folder, weights

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


def test_its_road_works_from_an_empty_folder(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command under "Register a task" in its order, then the Python below; fewer steps."""
    section = README[README.index("## Register a task") : README.index("## Held-out evaluation")]
    for argv in documentation.commands(section):
        fewer = (
            ["--gin.STEPS=2", "--gin.Evaluation.before=False", "--gin.EVAL_EXAMPLES=2"]
            if argv[0] == "train"
            else []
        )
        assert cli.main([*argv, *fewer]) == 0, argv
    scores = json.loads((here / "runs" / "rain" / "scores.json").read_text())
    assert {"umbrella", "film_opinion"} <= set(scores["tasks"])
    assert {"rainy_days", "umbrella"} == set(scores["groups"])
    (program,) = [b.text for b in documentation.blocks(section) if b.language == "python"]
    names: dict = {}
    exec(program, names)
    assert names["batch"]["encoder_input_tokens"].shape == (4, 128)
    assert isinstance(names["answers"][0].text, str)


def test_a_pretrained_model_is_tuned_and_handed_on(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command of the second example, on a tiny folder in the real one's place."""
    section = README[README.index("## Tune a pretrained model") : README.index("## Data flow")]
    llama_folder(here / "models" / "smollm2")
    assert cli.main(["check", "shop_help"]) == 0
    for argv in documentation.commands(section):
        fewer = ["--gin.STEPS=2" if arg == "--gin.STEPS=16" else arg for arg in argv]
        assert cli.main(fewer) == 0, argv
    assert set(weights(here / "models" / "shop")) == set(weights(here / "models" / "smollm2"))
    assert (here / "models" / "shop" / "tokenizer.json").is_file()


def test_its_commands_parse() -> None:
    commands = documentation.commands(README)
    assert len(commands) >= 6
    for verb, *argv in commands:
        cli.parse(verb, argv)


def test_its_page_of_verbs_is_the_parsers() -> None:
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    shown = {}
    for verb, flags in re.findall(r"^\| `([a-z]+)([^`]*)` \|", page, re.MULTILINE):
        shown[verb] = set(re.findall(r"(?<![\w-])--?[a-zA-Z_]+", flags)) - {"--gin"}
    assert set(shown) == set(cli.VERBS)
    for verb in cli.VERBS:
        declared = {flag for action in cli.parser(verb)._actions for flag in action.option_strings}
        assert shown[verb] == declared - {"-h", "--help", "--json"}, verb


def test_its_gin_names_are_those_of_the_settings() -> None:
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    listed = page[page.index("**gin names**") : page.index("Everything else is")]
    known = {macro for macro, _, _ in macros(gin_config.configurables())}
    assert set(re.findall(r"`([A-Z_]+)`", listed)) == known


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


@pytest.mark.slow
def test_its_other_commands_work_in_their_order(
    here: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of held-out evaluation and of scaling, on real data; a smaller model, fewer steps."""
    smaller = {
        "tensorflow_datasets": str(shared_data / "tfds"),
        "T5.model": str(shared_data / "tokenizers" / "t5_32000.model"),
        **{f"STEPS={steps}": "STEPS=1" for steps in (2000, 10000)},
        "BATCH_SIZE=64": "BATCH_SIZE=4",
        **{f"INPUTS_LENGTH={length}": "INPUTS_LENGTH=128" for length in (256, 512)},
        **{f"TARGETS_LENGTH={length}": "TARGETS_LENGTH=32" for length in (64, 128)},
    }
    tiny = ["--gin.T5Config.d_model=16", "--gin.T5Config.d_ff=16", "--gin.T5Config.num_heads=1"]
    more = {
        "prepare": ["--limit", "8"],
        "train": [*tiny, "--gin.EVAL_EXAMPLES=1"],
        "evaluate": ["--gin.EVAL_EXAMPLES=1"],
    }
    (here / "store").mkdir()
    assert cli.main(["prepare", "pocket", "--store", "store", "--limit", "8"]) == 0
    for verb, *argv in documentation.commands(README[README.index("## Held-out evaluation") :]):
        for name, other in smaller.items():
            argv = [a.removesuffix(name) + other if a.endswith(name) else a for a in argv]
        argv = [arg for arg in argv if arg != "--download"] + more.get(verb, [])
        # Some of flan2021's datasets are not here: they are one table, and the others are prepared.
        assert cli.main([verb, *argv]) == (2 if verb == "prepare" else 0), argv
    assert json.loads((here / "runs" / "without_nli" / "scores.json").read_text())["clusters"][
        "nli"
    ]
