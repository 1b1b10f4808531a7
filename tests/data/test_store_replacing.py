"""A task prepared anew replaces the old one: for readers at no moment, for a kill at every one."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from flanmix.data.loader import Loader, LoaderConfig
from flanmix.data.store import reader as reader_module
from flanmix.data.store import replacing
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import load_vocabulary
from flanmix.errors import UserError
from flanmix.registry.mixture import Mixture, MixtureTask
from tests.data.tasks import records, toy


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write(store: Store, text: str, name: str = "toy", count: int = 5) -> None:
    store.write(toy(name=name), "train", records(count, text))


def questions(store: Store) -> set[str]:
    return {record.fields["question"].split()[0] for record in store.open(toy(), "train")}


# ---- readers -------------------------------------------------------------------------------------

ANEW = "task 'toy' was prepared anew in store .* with other records: start again"


def test_a_reader_never_reads_a_later_store(store: Store, monkeypatch: pytest.MonkeyPatch):
    write(store, "old {0}")
    reader = store.open(toy(), "train")
    assert reader[0].fields["question"] == "old 0"
    for text in ("new {0}", "newer {0}"):
        write(store, text)
        assert reader[3].fields["question"] == "old 3", "its file is open"
        assert questions(store) == {text.split()[0]}
    monkeypatch.setattr(reader_module, "_HANDLES", reader_module._Handles())
    for read in (list, lambda reader: reader[0]):
        with pytest.raises(UserError, match=ANEW):
            read(reader)
    assert questions(store) == {"newer"}


def test_a_reader_that_was_not_opened_in_time(store: Store):
    write(store, "old {0}")
    reader, again = store.open(toy(), "train"), store.open(toy(), "train")
    write(store, "new {0}")
    with pytest.raises(UserError, match=ANEW):
        reader[0]
    shutil.rmtree(store.root / "toy")
    with pytest.raises(UserError, match="is gone: its task was removed from the store"):
        again[0]


def test_the_same_records_are_the_same_store(store: Store, monkeypatch: pytest.MonkeyPatch):
    write(store, "old {0}")
    reader = store.open(toy(), "train")
    assert reader.sha256 == store.sha256(toy(), "train")
    write(store, "other {0}")
    assert reader.sha256 != store.sha256(toy(), "train")
    write(store, "old {0}")
    assert reader.sha256 == store.sha256(toy(), "train")
    assert reader[4].fields["question"] == "old 4"
    assert store.sha256(toy(), "test") is None


def test_a_damaged_file_that_was_read_is_read_anew(store: Store):
    write(store, "old {0}")
    path = store.root / "toy" / "train.array_record"
    whole = path.read_bytes()
    path.write_bytes(whole[:64] + bytes(len(whole) - 64))
    with pytest.raises(UserError, match="is corrupt"):
        store.open(toy(), "train")[0]
    shutil.rmtree(store.root / "toy")
    write(store, "old {0}")
    assert questions(store) == {"old"}


def test_a_loader_never_mixes_two_stores(store: Store, monkeypatch: pytest.MonkeyPatch):
    specs = [toy(name=f"toy{number}") for number in range(12)]
    for spec in specs:
        write(store, "old {0}", spec.name, 40)
    mixture = Mixture("all", tuple(MixtureTask(spec, 1.0, 40, (0,)) for spec in specs))
    vocabulary = load_vocabulary("byte")
    loader = Loader(LoaderConfig(2, 64, 16, streams=2), mixture, store, vocabulary)
    for spec in specs:
        write(store, "new {0}", spec.name, 40)

    def read(batches: int) -> str:
        rows = [next(loader)["encoder_input_tokens"] for _ in range(batches)]
        return " ".join(vocabulary.decode(row.tolist()) for batch in rows for row in batch)

    text = read(20)
    assert "old" in text and "new" not in text, "its files are open"
    monkeypatch.setattr(reader_module, "_HANDLES", reader_module._Handles())
    with pytest.raises(UserError, match="was prepared anew"):
        read(200)


def test_a_loader_with_more_tasks_than_files_may_be_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    handles = reader_module._Handles()
    handles._capacity = 3
    monkeypatch.setattr(reader_module, "_HANDLES", handles)
    specs = [toy(name=f"toy{number}") for number in range(8)]
    for spec in specs:
        write(store, "old {0}", spec.name, 40)
    mixture = Mixture("all", tuple(MixtureTask(spec, 1.0, 40, (0,)) for spec in specs))
    loader = Loader(LoaderConfig(2, 64, 16, streams=2), mixture, store, load_vocabulary("byte"))
    held = list(handles._open)
    assert len(held) == 3
    for _ in range(10):
        next(loader)
    assert len(handles._open) == 3
    for spec in specs:
        write(store, "new {0}", spec.name, 40)
    with pytest.raises(UserError, match="was prepared anew"):
        for _ in range(200):
            next(loader)


def test_a_wrong_count_is_found_when_a_loader_starts(store: Store):
    write(store, "old {0}")
    path = store.root / "toy" / "manifest.json"
    path.write_text(path.read_text().replace('"records": 5', '"records": 4'))
    mixture = Mixture("one", (MixtureTask(toy(), 1.0, 4, (0,)),))
    with pytest.raises(UserError, match="it has 5 records, and the manifest says 4"):
        Loader(LoaderConfig(2, 64, 16), mixture, store, load_vocabulary("byte"))


# ---- kills ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def two_renames(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that can't exchange two folders."""
    monkeypatch.setattr(replacing, "_exchange", lambda one, other: False)


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ends the writing before its n-th change of the store's folders, without cleaning up."""
    left = [step]

    def counted(call):
        def changed(*args, **kwargs):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return call(*args, **kwargs)

        return changed

    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    monkeypatch.setattr(replacing, "_remove", counted(replacing._remove))
    monkeypatch.setattr(replacing.Place, "recover", counted(replacing.Place.recover))


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("step", range(12))
def test_a_kill_hides_no_task(
    store: Store, monkeypatch: pytest.MonkeyPatch, exchange: bool, step: int
):
    write(store, "old {0}")
    with monkeypatch.context() as patched:
        if not exchange:
            two_renames(patched)
        kill_at(patched, step)
        with contextlib.suppress(Killed):
            write(store, "new {0}")
    copies = [
        path for path in (store.root / "toy", *store.root.glob(".partial/*")) if path.is_dir()
    ]
    whole = [path for path in copies if (path / "manifest.json").is_file()]
    assert whole, "a whole copy is there at every moment"
    if exchange:
        assert questions(store) <= {"old", "new"}
    with store.claimed(toy()):
        assert questions(store) in ({"old"}, {"new"})
    assert store.verify(toy()) == []
    assert not (store.root / ".partial").exists()


@pytest.mark.parametrize("aside", ["toy-old", "toy.old"], ids=["ours", "an earlier flanmix's"])
def test_the_newer_copy_is_finished_or_else_the_old_one_is_restored(store: Store, aside: str):
    for newer_is_whole in (True, False):
        write(store, "old {0}")
        partial = store.root / ".partial"
        partial.mkdir()
        (store.root / "toy").rename(partial / aside)
        write_new = Store(store.root.parent / "other")
        write(write_new, "new {0}")
        shutil.copytree(write_new.root / "toy", partial / "toy")
        if not newer_is_whole:
            (partial / "toy" / "train.array_record").write_bytes(b"half")
        with store.claimed(toy()):
            assert questions(store) == ({"new"} if newer_is_whole else {"old"})
        shutil.rmtree(store.root)


def test_a_first_copy_that_was_whole_when_the_process_was_killed_is_kept(store: Store):
    write(store, "old {0}")
    (store.root / ".partial").mkdir()
    (store.root / "toy").rename(store.root / ".partial" / "toy")
    with store.claimed(toy()):
        assert questions(store) == {"old"}


def test_an_error_between_two_renames_restores_the_old(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    write(store, "old {0}")
    two_renames(monkeypatch)
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "toy" and path.parent.name == ".partial" and target.parent == store.root:
            monkeypatch.setattr(Path, "rename", rename)
            raise OSError(5, "Input/output error", str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(UserError, match="can't be written"):
        write(store, "new {0}")
    assert questions(store) in ({"old"}, {"new"})
    assert not (store.root / ".partial").exists()


def test_folders_are_exchanged_in_one_step_where_that_is_possible(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not replacing._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system can't exchange two folders")
    assert [os.listdir(tmp_path / name) for name in "ab"] == [["b"], ["a"]]
