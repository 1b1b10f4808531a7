"""Random access to one split of a prepared task.

    reader = store.open(task, "train")
    len(reader)              -> 2290
    reader.sha256            -> "5f0c...", of the file that it reads
    reader[17]               -> Record("train-17", ...)
    reader[[17, 3, 17]] as reader.__getitems__([17, 3, 17]) -> three records, in that order
    for record in reader: ...                               all in order, at a fifth of the cost

A reader is a path, a count and a hash until it is first read: opening the readers of thousands of
tasks costs no file handle. Handles are shared by the whole process, the least recently used is
closed when there are too many, and a reader can be pickled and used from several threads.

A reader reads the file that was there when it was made. What has been opened stays readable when
the task is prepared anew (`hold` opens it at once); what has not is opened only while the manifest
has the same hash, so that records of two stores never mix.
"""

import resource
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader

from flanmix.data.store.manifest import Damaged, Manifest, SplitFile
from flanmix.errors import UserError
from flanmix.registry.record import Record

_STRETCH = 256
_DAMAGE = (RuntimeError, ValueError, TypeError, IndexError)
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"


class _Handles:
    """Open ArrayRecord files of this process, least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[object, ...], ArrayRecordReader] = OrderedDict()
        self._capacity = 0

    def has_room(self) -> bool:
        """Whether another file can be kept open without closing one."""
        with self._lock:
            self._capacity = self._capacity or _half_of_the_file_limit()
            return len(self._open) < self._capacity

    def get(self, path: str, entry: SplitFile, identity: tuple[int, int]) -> ArrayRecordReader:
        """The handle of the file that has the entry's hash; raises as `_opened`.

        `identity` tells a file from one with the same hash that was written for a damaged one.
        """
        key = (path, entry.sha256, identity)
        with self._lock:
            handle = self._open.get(key)
            if handle is None:
                self._capacity = self._capacity or _half_of_the_file_limit()
                while len(self._open) >= self._capacity:
                    self._open.popitem(last=False)
                handle = self._open[key] = _opened(Path(path), entry)
            self._open.move_to_end(key)
            return handle


def _opened(path: Path, entry: SplitFile) -> ArrayRecordReader:
    """Opens a file.

    Raises:
        UserError: the task has been prepared anew since the entry was read.
        Damaged: the file has another number of records.
    """
    _check_same(path, entry)
    handle = ArrayRecordReader(str(path), _RANDOM_ACCESS)
    _check_same(path, entry)  # the folder may have been exchanged before the file was opened
    if handle.num_records() != entry.records:
        what = f"{handle.num_records()} records, and the manifest says {entry.records}"
        raise Damaged(f"{path} is corrupt: it has {what}", path.parent)
    return handle


def _check_same(path: Path, entry: SplitFile) -> None:
    manifest = Manifest.read(path.parent)
    if manifest is None:
        raise UserError(f"{path} is gone: its task was removed from the store while it was read")
    if entry not in manifest.splits.values():
        raise UserError(
            f"task '{manifest.task}' was prepared anew in store {path.parent.parent} while it was "
            "read, with other records: start again"
        )


def _half_of_the_file_limit() -> int:
    """How many files to keep open: a mixture may have more tasks than the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16384 if hard == resource.RLIM_INFINITY else min(hard, 16384)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(16, (16384 if soft == resource.RLIM_INFINITY else soft) // 2)


_HANDLES = _Handles()


class RecordReader:
    """The records of one split, by number.

    Attributes:
        path: its file.
        sha256: the file's SHA-256, by the manifest.
    """

    def __init__(self, path: Path, entry: SplitFile) -> None:
        """Makes the reader; `Store.open` does, after it has checked the file's size."""
        self.path = path
        self.sha256 = entry.sha256
        self._name = str(path)
        self._entry = entry
        status = path.stat()
        self._identity = (status.st_ino, status.st_mtime_ns)
        self._records = entry.records

    def __len__(self) -> int:
        return self._records

    def __repr__(self) -> str:
        return f"RecordReader({self._name!r}, {self._records} records)"

    def __getitem__(self, index: int) -> Record:
        """Reads one record.

        Raises:
            IndexError: beyond the last record.
            UserError: if the file is corrupt, or the task was prepared anew since the reader was
                made.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Record]:
        """Reads records in one go, in the order asked for; raises as `__getitem__`."""
        numbers = [self._number(index) for index in indices]
        try:
            handle = _HANDLES.get(self._name, self._entry, self._identity)
            # One read each: ArrayRecord's batched read is three times slower at random places.
            return [Record.from_bytes(handle.read([number])[0]) for number in numbers]
        except _DAMAGE as error:
            raise self._corrupt(error) from None

    def __iter__(self) -> Iterator[Record]:
        """Reads all records in order, some at a time; raises as `__getitem__`."""
        for start in range(0, self._records, _STRETCH):
            end = min(start + _STRETCH, self._records)
            try:
                rows = _HANDLES.get(self._name, self._entry, self._identity).read(start, end)
                records = [Record.from_bytes(row) for row in rows]
            except _DAMAGE as error:
                raise self._corrupt(error) from None
            yield from records

    def hold(self) -> None:
        """Opens the file now, so that this process reads it whatever is prepared later.

        Where as many files are open as may be, it is checked and not kept. Raises as `check`.
        """
        if _HANDLES.has_room():
            self.__getitems__([])
        else:
            self.check()

    def check(self) -> None:
        """Opens the file, and keeps no handle.

        Raises:
            UserError: it can't be opened, or has another number of records than it should.
        """
        try:
            _opened(self.path, self._entry)
        except _DAMAGE as error:
            raise self._corrupt(error) from None

    def _corrupt(self, error: Exception) -> Damaged:
        reason = str(error).split(";")[0][:200] or type(error).__name__
        return Damaged(f"{self.path} is corrupt ({reason})", self.path.parent)

    def _number(self, index: int) -> int:
        number = int(index)
        if not -self._records <= number < self._records:
            raise IndexError(f"record {number} of {self._records} in {self._name}")
        return number % self._records
