"""What docs/adding_a_task.md says is so: its files and commands, from top to bottom."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from flanmix import cli
from tests import documentation
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "adding_a_task.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; programs are compiled in haste."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FLANMIX_TASKS", raising=False)
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield tmp_path
    jax.config.update("jax_disable_most_optimizations", before)


def test_its_commands_run_and_print_what_it_shows(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert documentation.walk(PAGE, {""}, capsys) >= 12


def test_its_tfds_task(here: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed")
    if not (shared_data / "tfds" / "trec").is_dir():
        pytest.skip("trec is not among the real data")
    (here / "tensorflow_datasets").mkdir()
    (here / "tensorflow_datasets" / "trec").symlink_to(shared_data / "tfds" / "trec")
    assert documentation.walk(PAGE, {"data"}, capsys) == 6


def test_its_seqio_task(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("seqio", reason="SeqIO is not installed")
    assert documentation.walk(PAGE, {"seqio"}, capsys) == 4


def test_its_commands_parse() -> None:
    found = documentation.commands(PAGE)
    assert {"check", "show", "prepare", "mixture", "train", "evaluate", "generate"} == {
        verb for verb, *_ in found
    }
    for verb, *argv in found:
        cli.parse(verb, argv)
