"""The reference: whatever a user can write has an entry, and docs/reference.md is current."""

import json
import subprocess
import sys
from dataclasses import dataclass, fields

import pytest

from flanmix import cli
from flanmix.data.sources.api import SOURCES
from flanmix.evaluate.metrics import METRICS, Metric
from flanmix.registry import card
from flanmix.registry.mixture import mixture_keys
from flanmix.train.settings import macros
from flanmix.verbs import reference
from flanmix.verbs.gin_config import configurables
from tests.conftest import ROOT

ENTRIES = reference.entries()


def named(kind: str) -> set[str]:
    return {entry.name for entry in ENTRIES if entry.kind == kind}


def test_the_page_is_current() -> None:
    """Mend it with `flanmix help --all > docs/reference.md`."""
    done = subprocess.run(
        [sys.executable, "-m", "flanmix", "help", "--all"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert done.stdout == page, "run: flanmix help --all > docs/reference.md"


def test_everything_that_a_user_can_write_has_an_entry_with_a_meaning() -> None:
    assert named("task key") == set(card.KEYS)
    assert named("mixture key") == set(mixture_keys())
    assert named("template key") == {"inputs", "targets", "inverted"}
    assert named("source") >= {"jsonl", "tsv", "csv", "tfds", "seqio", "python"}
    settings = {f"{kind}.{key}" for kind, reader in SOURCES.items() for key in reader.settings}
    assert named("source setting") == settings
    assert named("metric") == set(METRICS)
    assert named("gin macro") == {macro for macro, _, _ in macros()}
    declared = {f"{k.__name__}.{field.name}" for k in configurables() for field in fields(k)}
    assert named("gin name") == declared
    ours = [entry for entry in ENTRIES if "Test" not in entry.name]
    assert reference.undocumented(ours) == []


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
    assert found == [
        "task key colour",
        "source setting bare.unsaid",
        "metric bare",
        "gin name Bare.unsaid",
    ]


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


def test_an_unknown_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "AdamW.weight_deca"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "did you mean 'AdamW.weight_decay'?" in err


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
