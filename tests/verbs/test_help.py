"""The reference: whatever a user can write has an entry, and docs/reference.md is current."""

import json
import subprocess
import sys
from dataclasses import dataclass, fields

import pytest

from flanmix import cli
from flanmix.data.sources.api import SOURCES
from flanmix.evaluate.metrics import METRICS, Metric
from flanmix.fields import macros
from flanmix.registry import card
from flanmix.registry.mixture import mixture_keys
from flanmix.verbs import help, reference
from flanmix.verbs.gin_config import configurables
from tests.conftest import ROOT


def test_the_page_is_current_and_every_entry_has_a_meaning() -> None:
    """In a process of its own, where no other test has registered anything."""
    program = (
        "import json; from flanmix.verbs import help, reference; known = reference.entries(); "
        "print(json.dumps([help.markdown(known), reference.undocumented(known)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    page, undocumented = json.loads(done.stdout)
    assert undocumented == [], "say in the docstring what they mean"
    current = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == current, "run: flanmix help --all > docs/reference.md"


def test_everything_that_a_user_can_write_has_an_entry() -> None:
    named: dict[str, set[str]] = {}
    for entry in reference.entries():
        named.setdefault(entry.kind, set()).add(entry.name)
    assert named["task key"] == set(card.KEYS)
    assert named["mixture key"] == set(mixture_keys())
    assert named["template key"] == {"inputs", "targets", "inverted"}
    assert named["source"] == set(SOURCES)
    settings = {f"{kind}.{key}" for kind, reader in SOURCES.items() for key in reader.settings}
    assert named["source setting"] == settings
    assert named["metric"] == set(METRICS)
    assert named["gin macro"] == {macro for macro, _, _ in macros(configurables())}
    declared = {f"{k.__name__}.{field.name}" for k in configurables() for field in fields(k)}
    assert named["gin name"] == declared


def test_all_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "--all"]) == 0
    assert capsys.readouterr().out == help.markdown(reference.entries())


def test_what_is_added_without_a_docstring_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Bare:
        """It has a field of which nobody says anything.

        Attributes:
            said: this.
        """

        said: int = 1
        unsaid: float | None = None

    class Reader:
        """Reads."""

        settings = ("unsaid",)

    monkeypatch.setattr(reference, "configurables", lambda: [*configurables(), Bare])
    monkeypatch.setattr(card, "KEYS", [*card.KEYS, "colour"])
    monkeypatch.setitem(SOURCES._things, "bare", Reader())
    monkeypatch.setitem(METRICS._things, "bare", Metric(lambda r, p: {"bare": 1.0}, "bare"))
    found = reference.undocumented(reference.entries())
    added = {"task key colour", "source setting bare.unsaid", "metric bare", "gin name Bare.unsaid"}
    assert added <= set(found)
    assert "gin name Bare.said" not in found


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("options", "task key", "fixed options in label order"),
        ("like", "task key", "another card of the same folder"),
        ("temperature", "mixture key", "proportional rate"),
        ("jsonl", "source", "one object a line"),
        ("tsv.columns", "source setting", "header"),
        ("rouge", "metric", "ROUGE-1"),
        ("STEPS", "gin macro", "`TrainConfig.steps`: updates in all"),
        ("adamw.weight_decay", "gin name", "times the learning rate"),
        ("weight_decay", "gin name", "times the learning rate"),
        ("T5Config", "gin class", "T5Config.d_model (whole number; default 512)"),
        ("train", "verb", "--gin_file"),
    ],
)
def test_a_name_is_explained(
    name: str, kind: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["help", name]) == 0
    text = capsys.readouterr().out
    assert f"({kind})" in text
    assert says in text
    assert cli.main(["help", name, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    also = document.pop("also", [])
    assert set(document) == {"name", "kind", "type", "default", "text"}
    assert any(entry["kind"] == kind and says in entry["text"] for entry in (document, *also))


def test_a_name_of_several_things_shows_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "templates"]) == 0
    text = capsys.readouterr().out
    assert "templates (task key)" in text
    assert "templates (mixture key)" in text


def test_without_a_name_every_section_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help"]) == 0
    text = capsys.readouterr().out
    for title in ("Verbs", "Keys of a task", "Sources", "Metrics", "Short gin names"):
        assert f"\n{title}\n" in text
    assert max(map(len, text.splitlines())) <= 80
    assert cli.main(["help", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {entry["kind"] for entry in listed} == {"verb", *reference.SECTIONS}


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["AdamW.weight_deca"], "did you mean 'AdamW.weight_decay'?"),
        (["answer", "--all"], "leave out 'answer'"),
    ],
)
def test_a_mistake_is_one_line(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["help", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    ("hint", "style", "words"),
    [
        (int | None, "gin", "whole number or None"),
        (bool, "yaml", "true or false"),
        (tuple[str, ...] | None, "yaml", "list of texts or null"),
        (dict[str, float], "yaml", "mapping of text to number"),
    ],
)
def test_a_type_is_said_in_words(hint: object, style: reference.Style, words: str) -> None:
    assert reference.type_in_words(hint, style) == words
