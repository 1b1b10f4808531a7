"""Writing one task's files: `Store.preparing` makes a `TaskWriter` and puts its folder in place.

writer = TaskWriter(folder, task)
writer.set_sources({"train.jsonl": path})       # before they are read
writer.write("train", records)                  -> SplitFile("train.array_record", 2290, ...)
writer.finish()                                 # the manifest, last: now the folder is whole
"""

import itertools
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter

from flanmix.data.store.manifest import NAME, Manifest, SplitFile, sha256, split_file
from flanmix.data.store.provenance import Signature, describe, signatures
from flanmix.data.store.replacing import sync
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

# A record is read by decompressing its group: larger groups are smaller files, but slower reads.
_GROUP_BYTES = 16384
_LARGEST_GROUP = 16


class TaskWriter:
    """Writes one task's files into an empty folder.

    Attributes:
        limit: the cap that truncated a split; None if none was.
    """

    def __init__(self, folder: Path, task: TaskSpec) -> None:
        """Starts with no splits."""
        self.limit: int | None = None
        self._folder = folder
        self._task = task
        self._splits: dict[str, SplitFile] = {}
        self._sources: Mapping[str, Path] = {}
        self._seen: Mapping[str, Signature | None] = {}

    def write(self, split: str, records: Iterable[Record]) -> SplitFile:
        """Writes a split's records and returns what the manifest will say of them."""
        path = self._folder / split_file(split)
        count = _write_records(path, records)
        sync(path)
        self._splits[split] = SplitFile(path.name, count, path.stat().st_size, sha256(path))
        return self._splits[split]

    def keep(self, manifest: Manifest, folder: Path, but: str) -> None:
        """Takes over the other splits of a task that is already in the store, in `folder`."""
        self.limit = manifest.limit
        for split, entry in manifest.splits.items():
            if split != but:
                shutil.copyfile(folder / entry.file, self._folder / entry.file)
                sync(self._folder / entry.file)
                self._splits[split] = entry

    def set_sources(self, files: Mapping[str, Path], limit: int | None = None) -> None:
        """Takes the source's files, as they are now, and the cap that truncated a split."""
        self._sources = files
        self._seen = signatures(files)
        self.limit = limit

    def finish(self) -> None:
        """Writes the manifest; after that the folder is complete.

        Raises:
            UserError: a source has changed since `set_sources`.
        """
        manifest = Manifest(
            task=self._task.name,
            task_version=self._task.version,
            data_fingerprint=self._task.data_fingerprint(),
            splits=self._splits,
            sources=describe(self._sources, self._seen, self._task.name),
            limit=self.limit,
        )
        path = self._folder / NAME
        path.write_text(manifest.to_json(), encoding="utf-8")
        sync(path)
        sync(self._folder)


def _write_records(path: Path, records: Iterable[Record]) -> int:
    rows = (record.to_bytes() for record in records)
    first = list(itertools.islice(rows, 64))
    mean = max(1, sum(map(len, first)) // max(1, len(first)))
    group = min(_LARGEST_GROUP, max(1, _GROUP_BYTES // mean))
    count = 0
    writer = ArrayRecordWriter(str(path), f"group_size:{group}")
    try:
        for row in itertools.chain(first, rows):
            writer.write(row)
            count += 1
    finally:
        writer.close()
    return count
