"""The store: canonical records on disk, one folder a task, written once and read at random.

    STORE/rte/manifest.json
    STORE/rte/train.array_record
    STORE/rte/validation.array_record

    store = Store("store")
    with store.preparing(task) as writing:          # all splits of a task, or nothing
        writing.write("train", records)
    store.count(task, "train")                      -> 2290
    store.sha256(task, "train")                     -> "5f0c..."
    store.open(task, "train")[17]                   -> Record("train-17", ...)

A task becomes visible all at once: its files are written into a folder under `STORE/.partial`,
synced, and exchanged with what was there. What a killed run leaves there is finished or removed by
the next writer of the task. Every access compares the card's data fingerprint, and the code that
the card's functions import, with the store's, and every `open` the file's size; `verify` also
compares counts and hashes and reads each record. Reading imports neither TensorFlow nor JAX.
"""

import contextlib
import errno
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from flanmix.data.sources.code import code_files
from flanmix.data.store.locking import locked
from flanmix.data.store.manifest import NAME, Damaged, Manifest, SplitFile, sha256
from flanmix.data.store.provenance import differing
from flanmix.data.store.reader import RecordReader
from flanmix.data.store.replacing import Place
from flanmix.data.store.writing import TaskWriter
from flanmix.errors import UserError
from flanmix.registry.hints import prepare_hint
from flanmix.registry.paths import check_local
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec


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
            UserError: if it is corrupt, or the task's card or code has changed since.
        """
        manifest = Manifest.read(self.root / task.name)
        if manifest is None:
            return None
        if manifest.data_fingerprint != task.data_fingerprint():
            raise UserError(
                f"task '{task.name}' in store {self.root} was prepared from another version of its "
                f"card (version {manifest.task_version}, now {task.version}, or its source or "
                f"fields differ); {prepare_hint(task.name, self.root)}"
            )
        recorded = manifest.sources
        code = {name: path for name, path in code_files(task).items() if name in recorded}
        if changed := differing(recorded, code):
            raise UserError(
                f"task '{task.name}' in store {self.root} was prepared by other code: "
                f"{code[changed]} has changed since; {prepare_hint(task.name, self.root)}"
            )
        return manifest

    def is_current(
        self, task: TaskSpec, sources: Mapping[str, Path] | None = None, limit: int | None = None
    ) -> bool:
        """Whether the task is up to date: complete, undamaged and prepared from what is there now.

        Its files are opened, not read: what is flipped inside of one is found by `verify`, and by
        whoever reads it.

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
                self._opened(manifest, split).check()
        except UserError:
            return False
        if set(manifest.splits) != {name for name, value in task.splits.items() if value}:
            return False
        return manifest.limit in (None, limit) and not differing(manifest.sources, sources or {})

    def damage(self, task: TaskSpec) -> str | None:
        """What is broken about the task's files, in short; None if nothing is, or there are none.

        Files that are whole and out of date are not broken; nor is a record read.
        """
        try:
            manifest = Manifest.read(self.root / task.name)
            if manifest is not None:
                for split in manifest.splits:
                    self._opened(manifest, split).check()
        except Damaged as error:
            return error.what
        except UserError:
            return None
        return None

    def count(self, task: TaskSpec, split: str) -> int | None:
        """How many records a split has; None if the task or the split is not in the store.

        Raises:
            UserError: as `manifest`.
        """
        entry = self._entry(task, split)
        return None if entry is None else entry.records

    def sha256(self, task: TaskSpec, split: str) -> str | None:
        """The SHA-256 of a split's file; None if the task or the split is not in the store.

        Two splits with the same one have the same records. Nothing is read but the manifest.

        Raises:
            UserError: as `manifest`.
        """
        entry = self._entry(task, split)
        return None if entry is None else entry.sha256

    def _entry(self, task: TaskSpec, split: str) -> SplitFile | None:
        manifest = self.manifest(task)
        return None if manifest is None else manifest.splits.get(split)

    def open(self, task: TaskSpec, split: str) -> RecordReader:
        """Opens a split for reading at random; the file's handle is opened on the first read.

        The reader reads what is there now, and nothing that is prepared later: see `reader`.

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
        return self._opened(manifest, split)

    def _opened(self, manifest: Manifest, split: str) -> RecordReader:
        entry = manifest.splits[split]
        path = self.root / manifest.task / entry.file
        _check_size(path, entry)
        return RecordReader(path, entry)

    def verify(self, task: TaskSpec) -> list[str]:
        """Compares every file of a task with its hash and its count, and reads every record.

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
                _verify_split(self._opened(manifest, split), entry)
            except UserError as error:
                problems.append(str(error))
        return problems

    def write(self, task: TaskSpec, split: str, records: Iterable[Record]) -> SplitFile:
        """Writes one split, atomically; the task's other splits stay as they are.

        Raises:
            UserError: as `preparing`.
        """
        with self.preparing(task) as writing:
            manifest = Manifest.read(self.root / task.name)
            if manifest is not None and manifest.data_fingerprint == task.data_fingerprint():
                writing.keep(manifest, self.root / task.name, but=split)
            return writing.write(split, records)

    @contextlib.contextmanager
    def claimed(self, task: TaskSpec, *, wait: bool = False) -> Iterator[None]:
        """Keeps other writers of the task out during the block, and mends what a killed one left.

        Args:
            task: the task.
            wait: whether to wait for another process that is writing the task.

        Raises:
            TaskBusy: another process is writing the task.
            StoreFull: if the disk is full.
            UserError: if the store can't be written.
        """
        place = Place(self.root, task.name)
        with _full_disk_is_one_line(self.root, task.name), locked(place.lock, task.name, wait):
            place.recover()
            yield

    @contextlib.contextmanager
    def writing(self, task: TaskSpec) -> Iterator[TaskWriter]:
        """Writes a claimed task: when the block ends well, what it wrote replaces what was there.

        Raises:
            UserError: a source has changed meanwhile; the task is left as it was.
        """
        place = Place(self.root, task.name)
        try:
            place.folder.mkdir()
            writer = TaskWriter(place.folder, task)
            yield writer
            writer.finish()
            place.put()
        except BaseException:
            with contextlib.suppress(OSError):
                place.recover()
            raise

    @contextlib.contextmanager
    def preparing(self, task: TaskSpec) -> Iterator[TaskWriter]:
        """Claims a task and writes it; raises as `claimed` and `writing`."""
        with self.claimed(task), self.writing(task) as writer:
            yield writer


def _verify_split(reader: RecordReader, entry: SplitFile) -> None:
    reader.check()
    if sha256(reader.path) != entry.sha256:
        what = f"{reader.path} is corrupt: its SHA-256 is not the manifest's"
        raise Damaged(what, reader.path.parent)
    for start in range(0, len(reader), 256):
        reader.__getitems__(range(start, min(start + 256, len(reader))))


def _check_size(path: Path, entry: SplitFile) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise Damaged(f"{path} is missing", path.parent) from None
    if size != entry.bytes:
        what = f"{path} is truncated or damaged: {size} bytes, {entry.bytes} were written"
        raise Damaged(what, path.parent)


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
