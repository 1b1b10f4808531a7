"""An edited manifest is one line wherever it is used, and never other records."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flanmix.data.store.store import Store
from flanmix.errors import UserError
from tests.data.tasks import records, toy


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    with store.preparing(toy()) as writing:
        writing.write("train", records(30))
        writing.write("test", records(5, split="test"))
    return store


def edit(store: Store, change: Callable[[Any], object]) -> None:
    path = store.root / "toy" / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def put(*keys: str, value: object) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return change


RECORDS = ("splits", "train", "records")
MALFORMED = {
    "negative": put(*RECORDS, value=-5),
    "text": put(*RECORDS, value="12"),
    "fraction": put(*RECORDS, value=12.5),
    "float": put(*RECORDS, value=30.0),
    "null": put(*RECORDS, value=None),
    "true": put(*RECORDS, value=True),
    "list": put(*RECORDS, value=[30]),
    "nan": put(*RECORDS, value=float("nan")),
    "bytes": put("splits", "train", "bytes", value="big"),
    "no hash": put("splits", "train", "sha256", value=None),
    "short hash": put("splits", "train", "sha256", value="abc"),
    "the test's file": put("splits", "train", "file", value="test.array_record"),
    "another folder's file": put("splits", "train", "file", value="../toy/train.array_record"),
    "a number for a file": put("splits", "train", "file", value=7),
    "a split more": put("splits", "extra", value={"file": "x"}),
    "splits as a list": put("splits", value=[]),
    "a split as a list": put("splits", "train", value=[]),
    "a key more": put("surprise", value=1),
    "another task": put("task", value="other"),
    "version": put("task_version", value="1"),
    "fingerprint": put("data_fingerprint", value=None),
    "limit": put("limit", value=-1),
    "sources": put("sources", value={"a": {"bytes": 1, "modified": None, "sha256": "0" * 64}}),
    "no format": lambda values: values.pop("format"),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_manifest_is_one_line(store: Store, how: str):
    edit(store, MALFORMED[how])
    path = store.root / "toy" / "manifest.json"
    for use in (store.count, store.sha256, store.open):
        with pytest.raises(
            UserError, match=rf"^{path} is corrupt.*; delete .* flanmix prepare toy"
        ):
            use(toy(), "train")
    assert len(store.verify(toy())) == 1
    assert not store.is_current(toy())
    assert str(path) in (store.damage(toy()) or "")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "[" * 100_000, "null", "3"])
def test_text_that_is_no_manifest_is_one_line(store: Store, text: str):
    (store.root / "toy" / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json is corrupt; delete"):
        store.open(toy(), "train")


@pytest.mark.parametrize("count", [29, 31, 1, 0])
def test_a_wrong_count_is_one_line_before_a_record_is_read(store: Store, count: int):
    edit(store, put(*RECORDS, value=count))
    says = rf"train.array_record is corrupt: it has 30 records, and the manifest says {count}"
    reader = store.open(toy(), "train")
    for read in (list, lambda reader: reader.__getitems__([0])):
        if count:
            with pytest.raises(UserError, match=says):
                read(reader)
    (problem,) = store.verify(toy())
    assert f"it has 30 records, and the manifest says {count}" in problem
    assert not store.is_current(toy())


def test_a_wrong_hash_and_a_flipped_byte_are_found_by_verify(store: Store):
    path = store.root / "toy" / "train.array_record"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (problem,) = store.verify(toy())
    assert "its SHA-256 is not the manifest's; delete" in problem


def test_swapped_files_are_found(store: Store):
    folder = store.root / "toy"
    (folder / "train.array_record").rename(folder / "kept")
    (folder / "test.array_record").rename(folder / "train.array_record")
    (folder / "kept").rename(folder / "test.array_record")
    assert len(store.verify(toy())) == 2
    with pytest.raises(UserError, match="is corrupt: it has 5 records, and the manifest says 30"):
        store.open(toy(), "train")[0]
