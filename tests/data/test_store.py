"""What is written is read, whole or not at all, and damage is said in one line."""

import dataclasses
import json
import multiprocessing
import os
import pickle
import random
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.data.store import reader as reader_module
from flanmix.data.store.prepare import prepare_task
from flanmix.data.store.store import Store, StoreFull
from flanmix.errors import UserError
from flanmix.registry.record import Record
from tests.conftest import ROOT
from tests.data.tasks import records, toy

HARD = ["{answer} {{", "\x00", "\U0001f600", "שלום עולם", "a\u2028b\r\n\tc", '"\\"', "\ud800"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def noise(count: int) -> list[Record]:
    """Records that no compression makes small."""
    return [Record(f"train-{i}", {"question": os.urandom(60).hex()}, ("a",)) for i in range(count)]


def visible(store: Store) -> list[str]:
    return sorted(p.relative_to(store.root).as_posix() for p in store.root.rglob("*"))


def test_records_come_back_in_any_order(store: Store):
    spec, written = toy(), records(1000)
    entry = store.write(spec, "train", written)
    assert (entry.records, store.count(spec, "train"), store.count(spec, "test")) == (
        1000,
        1000,
        None,
    )
    reader = store.open(spec, "train")
    assert len(reader) == 1000
    assert [reader[i] for i in (0, 999, -1, 17)] == [written[i] for i in (0, 999, -1, 17)]
    wanted = [random.Random(0).randrange(1000) for _ in range(200)]
    assert reader.__getitems__(wanted) == [written[i] for i in wanted]
    assert reader.__getitems__([]) == []
    assert list(reader) == written
    for beyond in (1000, -1001):
        with pytest.raises(IndexError, match="of 1000"):
            reader[beyond]


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.one_of(st.text(), st.sampled_from(HARD)), min_size=1, max_size=20))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, texts: list[str]):
    store = Store(tmp_path_factory.mktemp("hard"))
    written = [
        Record(f"train-{i}", {"question": text, "b": text[::-1]}, (text, "x"), (text, "x"))
        for i, text in enumerate(texts)
    ]
    store.write(toy(), "train", written)
    assert store.open(toy(), "train").__getitems__(range(len(texts))) == written


def test_a_megabyte_survives(store: Store):
    long = "{x}\x00\U0001f600" * 175_000
    written = [Record(f"train-{i}", {"question": long}, ("a",)) for i in range(3)]
    store.write(toy(), "train", written)
    assert store.open(toy(), "train").__getitems__([2, 0]) == [written[2], written[0]]


def test_writing_a_split_keeps_the_others(store: Store):
    spec = toy()
    store.write(spec, "train", records(5))
    store.write(spec, "test", records(3, split="test"))
    store.write(spec, "train", records(7))
    assert (store.count(spec, "train"), store.count(spec, "test")) == (7, 3)
    assert store.open(spec, "test")[2].id == "test-2"
    assert store.verify(spec) == []
    assert store.tasks() == ["toy"]
    assert not (store.root / ".partial").exists()


def test_a_replaced_file_is_read_anew(store: Store):
    spec = toy()
    store.write(spec, "train", records(5, "old {0}"))
    assert store.open(spec, "train")[0].fields["question"] == "old 0"
    store.write(spec, "train", records(5, "new {0}"))
    assert store.open(spec, "train")[0].fields["question"] == "new 0"


def test_nothing_is_visible_until_all_splits_are_there(store: Store):
    spec = toy()
    with pytest.raises(ZeroDivisionError), store.preparing(spec) as writing:
        writing.write("train", records(10))
        assert store.count(spec, "train") is None
        raise ZeroDivisionError
    assert visible(store) == []
    store.write(spec, "train", records(2))
    before = visible(store)
    with pytest.raises(ZeroDivisionError), store.preparing(spec) as writing:
        writing.write("train", records(10))
        raise ZeroDivisionError
    assert visible(store) == before
    assert store.count(spec, "train") == 2


def test_a_card_that_has_changed_is_one_line(store: Store):
    spec = toy()
    store.write(spec, "train", records(2))
    other = dataclasses.replace(spec, version=2)
    for use in (store.count, store.open):
        with pytest.raises(UserError, match=r"version 1, now 2.* flanmix prepare toy --store"):
            use(other, "train")
    assert len(store.verify(other)) == 1
    assert not store.is_current(other)
    more = dataclasses.replace(spec, templates=spec.templates[:1])
    assert store.count(more, "train") == 2, "templates do not touch the store"


def test_what_is_missing_is_one_line(store: Store):
    with pytest.raises(UserError, match=r"task 'toy' is not in store .*run: flanmix prepare toy"):
        store.open(toy(), "train")
    store.write(toy(), "train", records(2))
    with pytest.raises(UserError, match="no split 'validation'"):
        store.open(toy(), "validation")


def damage(path: Path, change: str) -> None:
    data = bytearray(path.read_bytes())
    if change == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif change == "emptied":
        path.write_bytes(b"")
    elif change == "deleted":
        path.unlink()
    elif change == "zeroed":
        path.write_bytes(bytes(len(data)))
    elif change == "flipped":
        data[70_000] ^= 0xFF
        path.write_bytes(data)


@pytest.mark.parametrize("change", ["truncated", "emptied", "deleted", "zeroed", "flipped"])
def test_a_damaged_file_is_one_line(store: Store, change: str):
    spec = toy()
    store.write(spec, "train", noise(3000))
    path = store.root / "toy" / "train.array_record"
    assert path.stat().st_size > 100_000
    damage(path, change)
    pattern = rf"{path} is .*; delete {path.parent} and run: flanmix prepare toy --store"
    with pytest.raises(UserError, match=pattern):
        reader = store.open(spec, "train")
        for start in range(0, 3000, 100):
            reader.__getitems__(range(start, start + 100))
    with pytest.raises(UserError, match=pattern):
        list(store.open(spec, "train"))
    (problem,) = store.verify(spec)
    assert str(path) in problem
    if change in ("truncated", "emptied", "deleted"):
        assert not store.is_current(spec)


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_never_gives_another_record(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int, cut: bool
):
    store, spec = Store(tmp_path_factory.mktemp("damage")), toy()
    written = records(300)
    store.write(spec, "train", written)
    path = store.root / "toy" / "train.array_record"
    data = bytearray(path.read_bytes())
    place = int(where * len(data))
    data[place] ^= 1 << bit
    path.write_bytes(data[:place] if cut else data)
    assert len(store.verify(spec)) == 1
    for read in (list, lambda reader: reader.__getitems__(range(300))):
        try:
            assert read(store.open(spec, "train")) == written
        except UserError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is corrupt"),
        ("[]", "is corrupt"),
        ('{"format": 2}', "is corrupt"),
        ("\xff", "can't be read"),
    ],
)
def test_a_damaged_manifest_is_one_line(store: Store, text: str, says: str):
    store.write(toy(), "train", records(2))
    path = store.root / "toy" / "manifest.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=rf"{path} {says}.*flanmix prepare toy"):
        store.count(toy(), "train")
    assert not store.is_current(toy())


def make_old(store: Store) -> None:
    """Makes the prepared task one of format 1, as an earlier flanmix left it."""
    path = store.root / "toy" / "manifest.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))


def test_a_store_of_an_earlier_format_says_how_to_prepare_it_again(store: Store, tmp_path: Path):
    rows = "".join(json.dumps({"question": f"{i}?", "answer": str(i)}) + "\n" for i in range(3))
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(rows)
    task = toy(tmp_path)
    prepare_task(task, store)
    make_old(store)
    says = rf"format 1, this one reads 2\): run: flanmix prepare toy --store {store.root}$"
    for look in (store.count, store.open):
        with pytest.raises(UserError, match=says) as caught:
            look(task, "train")
        assert "\n" not in str(caught.value)
    assert store.verify(task) == [str(caught.value)]
    assert not store.is_current(task)
    assert set(prepare_task(task, store) or {}) == {"train", "test"}
    assert store.count(task, "train") == 3
    assert prepare_task(task, store) is None


def test_an_existing_store_is_a_folder(store: Store):
    with pytest.raises(UserError, match="is no folder; flanmix prepare makes one"):
        Store.existing(store.root)
    store.write(toy(), "train", records(2))
    assert Store.existing(str(store.root)).tasks() == ["toy"]


def test_sources_that_changed_make_a_task_stale(store: Store, tmp_path: Path):
    spec, data = toy(), tmp_path / "train.jsonl"
    data.write_text("one")
    with store.preparing(spec) as writing:
        writing.write("train", records(2))
        writing.write("test", records(1, split="test"))
        writing.set_sources({"train.jsonl": data}, None)
    assert store.is_current(spec, {"train.jsonl": data})
    os.utime(data, (0, 0))
    assert store.is_current(spec, {"train.jsonl": data}), "only the time stamp differs"
    data.write_text("two")
    assert not store.is_current(spec, {"train.jsonl": data})
    data.unlink()
    assert store.is_current(spec, {"train.jsonl": data}), "a store outlives its sources"


def test_a_capped_task_serves_only_its_cap(store: Store):
    spec = toy(splits={"train": "train.jsonl"})
    with store.preparing(spec) as writing:
        writing.write("train", records(2))
        writing.set_sources({}, 2)
    assert [store.is_current(spec, limit=limit) for limit in (2, 3, None)] == [True, False, False]
    store.write(dataclasses.replace(spec, version=2), "train", records(2))
    assert store.is_current(dataclasses.replace(spec, version=2), limit=1), "it is whole"


def test_a_full_disk_is_one_line(store: Store, tmp_path: Path):
    spec = toy()
    store.write(spec, "train", records(2))
    before = visible(store)

    def endless():
        yield from records(10)
        raise OSError(28, "No space left on device", str(tmp_path))

    with pytest.raises(StoreFull, match=r"is full; task 'toy' .* run the same command again"):
        store.write(spec, "train", endless())
    assert visible(store) == before
    assert store.count(spec, "train") == 2


def test_a_really_full_disk_is_one_line(tmp_path: Path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        store = Store(tmp_path)
        with pytest.raises(StoreFull, match="is full"):
            store.write(toy(), "train", noise(8000))
        assert visible(store) == []
        store.write(toy(), "train", records(10))
        assert store.verify(toy()) == []
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_two_processes_do_not_write_one_task(store: Store):
    with store.preparing(toy()) as writing:
        writing.write("train", records(3))
        with pytest.raises(UserError, match="another process is writing"), store.preparing(toy()):
            pass
    assert store.count(toy(), "train") == 3


_KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from flanmix.data.store.store import Store
from tests.data.tasks import records, toy
def killed():
    for number, record in enumerate(records(400)):
        if number == 300:
            os.kill(os.getpid(), signal.SIGKILL)
        yield record
Store({store!r}).write(toy(), "train", killed())
"""


def test_a_killed_writer_leaves_nothing_visible(store: Store):
    program = _KILLED.format(root=str(ROOT), store=str(store.root))
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert store.tasks() == []
    assert store.count(toy(), "train") is None
    store.write(toy(), "train", records(400))
    assert store.verify(toy()) == []
    assert not (store.root / ".partial").exists()


def read_in_child(pickled: bytes, pipe) -> None:
    pipe.send([record.id for record in pickle.loads(pickled).__getitems__([3, 1])])


def test_a_reader_goes_to_another_process_and_to_threads(store: Store):
    store.write(toy(), "train", records(500))
    reader = store.open(toy(), "train")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=read_in_child, args=(pickle.dumps(reader), theirs))
    child.start()
    assert ours.recv() == ["train-3", "train-1"]
    child.join()
    wrong: list[int] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            wanted = [draw.randrange(500) for _ in range(4)]
            if [r.id for r in reader.__getitems__(wanted)] != [f"train-{i}" for i in wanted]:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_opening_is_lazy_and_files_are_shared(store: Store, monkeypatch: pytest.MonkeyPatch):
    handles = reader_module._Handles()
    handles._capacity = 3
    monkeypatch.setattr(reader_module, "_HANDLES", handles)
    specs = [toy(name=f"toy{i}") for i in range(8)]
    for spec in specs:
        store.write(spec, "train", records(3, spec.name + " {0}"))
    readers = [store.open(spec, "train") for spec in specs]
    assert not handles._open
    for _ in range(2):
        for spec, reader in zip(specs, readers, strict=True):
            assert reader[1].fields["question"] == f"{spec.name} 1"
            assert len(handles._open) <= 3


def test_opening_a_thousand_tasks_is_cheap(store: Store):
    spec = toy()
    store.write(spec, "train", records(3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    readers = [store.open(spec, "train") for _ in range(1000)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 1.0
    assert len(readers) == 1000


def test_the_manifest_says_what_is_there(store: Store):
    store.write(toy(), "train", records(3))
    manifest = json.loads((store.root / "toy" / "manifest.json").read_text())
    assert manifest["format"] == 2
    assert manifest["data_fingerprint"] == toy().data_fingerprint()
    assert manifest["splits"]["train"]["records"] == 3
    assert len(manifest["splits"]["train"]["sha256"]) == 64
