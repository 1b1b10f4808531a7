"""The store: canonical records on disk, one folder a task, written once and read at random.

    STORE/rte/manifest.json
    STORE/rte/train.array_record
    STORE/rte/validation.array_record

    store = Store("store")
    with store.preparing(task) as writing:          # all splits of a task, or nothing
        writing.write("train", records)
    store.count(task, "train")                      -> 2290
    store.open(task, "train")[17]                   -> Record("train-17", ...)

A task becomes visible all at once: its files are written into a folder under `STORE/.partial`,
synced, and renamed. What a killed run leaves there is removed by the next one. Every access
compares the card's data fingerprint with the store's, and every `open` the file's size; `verify`
also compares hashes and reads each record. Reading imports neither TensorFlow nor JAX.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter

from flanmix.data.store.manifest import (
    NAME,
    Manifest,
    SplitFile,
    damage_hint,
    describe_sources,
    sha256,
    sources_changed,
)
from flanmix.data.store.reader import RecordReader
from flanmix.errors import UserError
from flanmix.registry.hints import prepare_hint
from flanmix.registry.paths import check_local
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

_PARTIAL = ".partial"
# A record is read by decompressing its group: larger groups are smaller files, but slower reads.
_GROUP_BYTES = 16384
_LARGEST_GROUP = 16


class StoreFull(UserError):
    """The disk is full: no other task will fit either."""


class Store:
    """A folder of prepared tasks."""

    def __init__(self, root: str | Path) -> None:
        """Names the folder; it is made when the first task is written."""
        check_local(root, "the store")
        self.root = Path(root)

    @classmethod
    def existing(cls, root: str | Path) -> "Store":
        """Returns the store in a folder that is there.

        Raises:
            UserError: there is no such folder.
        """
        if not Path(root).is_dir():
            raise UserError(f"store {root} is no folder; flanmix prepare makes one")
        return cls(root)

    def tasks(self) -> list[str]:
        """Names of the tasks that have been prepared, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(path.parent.name for path in self.root.glob(f"*/{NAME}"))

    def manifest(self, task: TaskSpec) -> Manifest | None:
        """The task's manifest, or None if it has not been prepared.

        Raises:
            UserError: if it is corrupt, or the task's card has changed since.
        """
        manifest = Manifest.read(self.root / task.name)
        if manifest is not None and manifest.data_fingerprint != task.data_fingerprint():
            raise UserError(
                f"task '{task.name}' in store {self.root} was prepared from another version of its "
                f"card (version {manifest.task_version}, now {task.version}, or its source or "
                f"fields differ); {prepare_hint(task.name, self.root)}"
            )
        return manifest

    def is_current(
        self, task: TaskSpec, sources: Mapping[str, Path] | None = None, limit: int | None = None
    ) -> bool:
        """Whether the task is up to date: complete, undamaged and prepared from what is there now.

        Args:
            task: the task.
            sources: its source's files by name, if known: one that differs makes the task stale.
            limit: the cap on records a split; a task without a cap satisfies any.
        """
        try:
            manifest = self.manifest(task)
            if manifest is None:
                return False
            for split in manifest.splits:
                self.open(task, split)
        except UserError:
            return False
        if set(manifest.splits) != {name for name, value in task.splits.items() if value}:
            return False
        return manifest.limit in (None, limit) and not sources_changed(
            manifest.sources, sources or {}
        )

    def count(self, task: TaskSpec, split: str) -> int | None:
        """How many records a split has; None if the task or the split is not in the store.

        Raises:
            UserError: as `manifest`.
        """
        manifest = self.manifest(task)
        if manifest is None or split not in manifest.splits:
            return None
        return manifest.splits[split].records

    def open(self, task: TaskSpec, split: str) -> RecordReader:
        """Opens a split for reading at random; the file's handle is opened on the first read.

        Raises:
            UserError: if it is not prepared, out of date, or its file is missing or truncated.
        """
        manifest = self.manifest(task)
        if manifest is None:
            raise UserError(
                f"task '{task.name}' is not in store {self.root}; "
                f"{prepare_hint(task.name, self.root)}"
            )
        if split not in manifest.splits:
            names = ", ".join(manifest.splits)
            raise UserError(f"task '{task.name}' has no split '{split}' in its store: {names}")
        entry = manifest.splits[split]
        path = self.root / task.name / entry.file
        _check_size(path, entry)
        return RecordReader(path, entry.records)

    def verify(self, task: TaskSpec) -> list[str]:
        """Compares every file of a task with its hash and reads every record.

        Returns:
            one line for each problem; none if all is well.
        """
        try:
            manifest = self.manifest(task)
        except UserError as error:
            return [str(error)]
        if manifest is None:
            return [f"task '{task.name}' is not in store {self.root}"]
        problems = []
        for split, entry in manifest.splits.items():
            try:
                self._verify_split(task, split, entry)
            except UserError as error:
                problems.append(str(error))
        return problems

    def _verify_split(self, task: TaskSpec, split: str, entry: SplitFile) -> None:
        reader = self.open(task, split)
        if sha256(reader.path) != entry.sha256:
            message = "is corrupt: its SHA-256 is not the manifest's"
            raise UserError(f"{reader.path} {message}; {damage_hint(reader.path.parent)}")
        for start in range(0, len(reader), 256):
            reader.__getitems__(range(start, min(start + 256, len(reader))))

    def write(self, task: TaskSpec, split: str, records: Iterable[Record]) -> SplitFile:
        """Writes one split, atomically; the task's other splits stay as they are.

        Raises:
            UserError: as `preparing`.
        """
        with self.preparing(task) as writing:
            manifest = Manifest.read(self.root / task.name)
            if manifest is not None and manifest.data_fingerprint == task.data_fingerprint():
                writing.keep(manifest, but=split)
            return writing.write(split, records)

    @contextlib.contextmanager
    def preparing(self, task: TaskSpec) -> Iterator["TaskWriter"]:
        """Writes a task: when the block ends well, what it wrote replaces what was there.

        Raises:
            StoreFull: if the disk is full; the task is left as it was.
            UserError: if another process is writing the task, or the store can't be written.
        """
        with _full_disk_is_one_line(self.root, task.name):
            folder, lock = _claim(self.root / _PARTIAL / task.name)
            try:
                writer = TaskWriter(folder, task)
                yield writer
                writer.finish()
                _replace(self.root / task.name, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            finally:
                os.close(lock)
                with contextlib.suppress(OSError):
                    folder.parent.rmdir()


class TaskWriter:
    """Writes one task's files; `Store.preparing` makes it."""

    def __init__(self, folder: Path, task: TaskSpec) -> None:
        """Starts with no splits, in an empty folder."""
        self.limit: int | None = None
        self._folder = folder
        self._task = task
        self._splits: dict[str, SplitFile] = {}
        self._sources: Mapping[str, Path] = {}

    def write(self, split: str, records: Iterable[Record]) -> SplitFile:
        """Writes a split's records and returns what the manifest will say of them."""
        path = self._folder / f"{split}.array_record"
        count = _write_records(path, records)
        _sync(path)
        self._splits[split] = SplitFile(path.name, count, path.stat().st_size, sha256(path))
        return self._splits[split]

    def keep(self, manifest: Manifest, but: str) -> None:
        """Takes over the other splits of a task that is already in the store."""
        self.limit = manifest.limit
        for split, entry in manifest.splits.items():
            if split != but:
                shutil.copyfile(
                    self._folder.parent.parent / manifest.task / entry.file,
                    self._folder / entry.file,
                )
                self._splits[split] = entry

    def set_sources(self, files: Mapping[str, Path], limit: int | None) -> None:
        """Takes the source's files, and the cap that truncated a split (None if none was)."""
        self._sources = files
        self.limit = limit

    def finish(self) -> None:
        """Writes the manifest; after that the folder is complete."""
        manifest = Manifest(
            task=self._task.name,
            task_version=self._task.version,
            data_fingerprint=self._task.data_fingerprint(),
            splits=self._splits,
            sources=describe_sources(self._sources),
            limit=self.limit,
        )
        path = self._folder / NAME
        path.write_text(manifest.to_json(), encoding="utf-8")
        _sync(path)
        _sync(self._folder)


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


def _check_size(path: Path, entry: SplitFile) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {damage_hint(path.parent)}") from None
    if size != entry.bytes:
        message = f"is truncated or damaged: {size} bytes, {entry.bytes} were written"
        raise UserError(f"{path} {message}; {damage_hint(path.parent)}")


def _claim(folder: Path) -> tuple[Path, int]:
    """Makes an empty folder that this process alone writes; the lock ends with the process."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UserError(f"another process is writing {folder}: wait until it is done") from None
        # Between opening and locking, the folder may have been renamed into place by its owner.
        if folder.exists() and folder.stat().st_ino == os.fstat(lock).st_ino:
            break
        os.close(lock)
    for path in folder.iterdir():
        path.unlink()
    return folder, lock


def _replace(target: Path, folder: Path) -> None:
    """Moves a complete folder to where it is read."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    folder.rename(target)
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _full_disk_is_one_line(root: Path, task: str) -> Iterator[None]:
    """Turns what the writers raise on a full or read-only disk into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error) or "quota exceeded" in str(error):
            raise StoreFull(
                f"the disk of store {root} is full; task '{task}' was not prepared and nothing "
                "half-written is left: free some space and run the same command again"
            ) from None
        if isinstance(error, OSError) and str(root) in str(error.filename or ""):
            raise UserError(f"store {root} can't be written: {error}") from None
        raise
