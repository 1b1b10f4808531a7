"""Datasets that are not there: found missing without a network, one table, nothing left behind."""

import json
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from flanmix import cli
from flanmix.data.sources import datasets
from flanmix.errors import UserError

pytest.importorskip("tensorflow_datasets")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """No name is resolved and no server reached; the list has who was asked for."""
    asked: list[object] = []

    def refuse(address, *_, **__):
        asked.append(address)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return asked


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The data folder and the temporary one, and what is in them."""
    for name in ("data", "temporary"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "aeslc").mkdir()
    (tmp_path / "data" / "aeslc" / "mine.txt").write_text("mine")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return lambda: sorted(
        str(path.relative_to(tmp_path))
        for name in ("data", "temporary")
        for path in (tmp_path / name).rglob("*")
    )


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(*argv: str) -> tuple[int, dict, list[str]]:
        where = ["--store", str(tmp_path / "store"), "--data_dir", str(tmp_path / "data")]
        code = cli.main(["prepare", *argv, *where, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out), err.splitlines()

    return run


def test_missing_datasets_are_one_table_and_nothing_is_asked_or_left(
    tmp_path: Path, offline: list[object], folders, prepare
):
    before = folders()
    names = ["aeslc", "coqa", "mnli_matched", "newsroom", "wmt16_translate_fien", "paws_wiki"]
    code, done, lines = prepare(*names)
    assert code == 2
    assert [row["task"] for row in done["failed"]] == sorted(names)
    assert all("--download" in row["error"] for row in done["failed"])
    assert offline == []
    assert folders() == before
    store, data = tmp_path / "store", tmp_path / "data"
    assert lines[0].startswith("0 prepared (0 records") and lines[0].endswith(
        "0 up to date, 6 failed"
    )
    assert lines[1] == f"6 tasks need datasets that are not in {data}:"
    assert " ".join(lines[2].split()) == "task dataset what is missing what to do"
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in lines[3:9]}
    assert list(rows) == sorted(names)
    assert rows["coqa"][0] == "coqa:1.0.0"
    assert rows["coqa"][1].split("  ")[0] == "not downloaded"
    assert rows["coqa"][1].endswith("--download")
    assert rows["newsroom"][1].endswith("note 1, then --download")
    assert lines[9].startswith(f"note 1: into {data}/downloads/manual: You should download")
    assert lines[-1] == (
        f"to download, run: flanmix prepare {' '.join(names)} --store {store} --data_dir {data} "
        "--download"
    )
    assert sum("coqa" in line for line in lines) == 2


def test_other_failures_are_named_beside_the_table(
    tmp_path: Path, offline: list[object], folders, prepare, monkeypatch: pytest.MonkeyPatch
):
    cards = tmp_path / "tasks" / "mine" / "qa"
    cards.mkdir(parents=True)
    (cards / "odd.yaml").write_text("name: odd\n")
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path / "tasks"))
    _, done, lines = prepare("coqa", "odd")
    assert [row["task"] for row in done["failed"]] == ["coqa", "odd"]
    assert lines[-1] == "failed: odd"
    assert lines[0].startswith("flanmix: failed: ") and "odd.yaml" in lines[0]
    assert any(line.startswith("coqa ") for line in lines)


def test_a_dataset_that_is_there_is_found_with_its_rows(shared_data: Path, offline: list[object]):
    splits = datasets.found("super_glue/cb:1.0.2", str(shared_data / "tfds"), "test").info.splits
    assert {name: info.num_examples for name, info in splits.items()} == {
        "train": 64,
        "validation": 56,
    }
    assert offline == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("super_gluee/cb:1.0.2", "can't be made: .*not found"),
        ("super_glue/cb:0.0.1", "can't be made: .*0.0.1"),
        ("huggingface:xsum", "can't be looked up without a network; fetch it with --download"),
    ],
)
def test_a_wrong_name_asks_nobody(
    tmp_path: Path, offline: list[object], folders, name: str, says: str
):
    before = folders()
    with pytest.raises(UserError, match=rf"test: TFDS dataset {name} is not in .*{says}"):
        datasets.found(name, str(tmp_path / "data"), "test")
    assert (offline, folders()) == ([], before)


@pytest.mark.parametrize("task", ["aeslc", "imdb_reviews", "mnli_matched"])
def test_a_download_without_a_network_fails_at_once_and_leaves_nothing(
    offline: list[object], folders, prepare, task: str
):
    before = folders()
    code, done, lines = prepare(task, "--download")
    assert code == 2
    (failed,) = done["failed"]
    assert "can't be downloaded into" in failed["error"]
    assert "can't be reached" in failed["error"]
    assert len(offline) == 1
    assert folders() == before
    assert lines[-1] == f"failed: {task}"


class Builder:
    """What TFDS makes of a dataset's name."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = None
    url_infos = None

    def __init__(self, root: Path, error: str = "") -> None:
        self.root, self.error = root, error
        self.data_dir = str(root / "new" / "1.0.0")
        self.info = SimpleNamespace(splits={}, full_name="new/1.0.0")

    def download_and_prepare(self) -> None:
        (self.root / "downloads" / "extracted").mkdir(parents=True)
        (self.root / "new" / ".config").mkdir(parents=True)
        (self.root / "new" / ".config" / "metadata.json").write_text("{}")
        (self.root / "new" / "1.0.0.incompleteX").mkdir()
        tempfile.mkdtemp("tfds")
        print("Downloading and preparing dataset ...")
        if self.error:
            raise OSError(self.error)
        (self.root / "new" / "1.0.0.incompleteX").rename(self.data_dir)
        self.info.splits = {"train": SimpleNamespace(num_examples=3)}


def test_a_failed_download_leaves_what_was_there(
    tmp_path: Path, folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before = folders()
    builder = Builder(tmp_path / "data", "HTTP 503")
    monkeypatch.setattr(datasets, "_builder", lambda *_: builder)
    with pytest.raises(UserError, match=r"test: TFDS dataset new/1\.0\.0 can't be .*HTTP 503"):
        datasets.fetch("new:1.0.0", str(tmp_path / "data"), "test")
    assert folders() == before
    assert capsys.readouterr().out == ""


def test_files_that_were_fetched_stay_for_the_next_try(
    tmp_path: Path, folders, monkeypatch: pytest.MonkeyPatch
):
    before = folders()
    builder = Builder(tmp_path / "data", "HTTP 503")
    made = builder.download_and_prepare

    def download() -> None:
        try:
            made()
        finally:
            (tmp_path / "data" / "downloads" / "one.zip").write_text("whole")

    monkeypatch.setattr(builder, "download_and_prepare", download)
    monkeypatch.setattr(datasets, "_builder", lambda *_: builder)
    with pytest.raises(UserError, match="HTTP 503"):
        datasets.fetch("new:1.0.0", str(tmp_path / "data"), "test")
    assert set(folders()) - set(before) == {"data/downloads", "data/downloads/one.zip"}


def test_a_download_goes_into_the_data_folder_alone(
    tmp_path: Path, folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    builder = Builder(tmp_path / "data")
    monkeypatch.setattr(datasets, "_builder", lambda *_: builder)
    datasets.fetch("new:1.0.0", str(tmp_path / "data"), "test")
    assert datasets.found("new:1.0.0", str(tmp_path / "data"), "test") is builder
    assert not [path for path in folders() if path.startswith("temporary/")]
    datasets.fetch("new:1.0.0", str(tmp_path / "data"), "test")  # it is there: nothing is done
    assert capsys.readouterr().out == ""
