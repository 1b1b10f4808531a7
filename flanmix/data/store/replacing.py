"""Putting a complete task folder where it is read, so that a kill at any moment hides nothing.

    place = Place(Path("store"), "rte")
    place.recover()                  # what a killed run left: finished or restored, then cleared
    place.folder                     -> store/.partial/rte, empty and new
    place.put()                      # it is store/rte now; the copy that was there is gone

Where the file system can exchange two folders in one step, it does. Elsewhere the old copy steps
aside first; between the two renames both copies are whole and neither is in place, and `recover`,
which the next writer of the task calls, puts the newer one there. A whole copy is deleted only
after another is in place. The caller holds the task's lock.
"""

import contextlib
import ctypes
import functools
import json
import os
import shutil
from pathlib import Path

from flanmix.data.store.manifest import NAME, Manifest

PARTIAL = ".partial"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Place:
    """Where one task of a store is, and where it is made.

    Args:
        root: the store.
        task: the task's name.
    """

    def __init__(self, root: Path, task: str) -> None:
        # No task's name has a hyphen: these names are nobody else's.
        self.target = root / task
        self.folder = root / PARTIAL / task
        self.lock = root / PARTIAL / f"{task}-lock"
        self._aside = root / PARTIAL / f"{task}-old"
        # As an earlier flanmix named it; a task may have this name too, but not such a manifest.
        self._earlier = root / PARTIAL / f"{task}.old"
        self._task = task

    def recover(self) -> None:
        """Puts a whole copy in place if none is there, the newest, and clears what is left."""
        if not os.path.lexists(self.target):
            for copy in (self.folder, self._aside, self._earlier):
                if self._is_whole(copy):
                    copy.rename(self.target)
                    sync(self.target.parent)
                    break
        self.clear()

    def clear(self) -> None:
        """Removes what was left where the task is made."""
        for path in (self.folder, self._aside):
            _remove(path)

    def put(self) -> None:
        """Moves the complete folder to where it is read; the copy that was there goes."""
        if not os.path.lexists(self.target):
            self.folder.rename(self.target)
        elif not _exchange(self.folder, self.target):
            self.target.rename(self._aside)
            self.folder.rename(self.target)
        sync(self.target.parent)
        self.clear()

    def _is_whole(self, folder: Path) -> bool:
        """Whether a folder has all that its manifest, which is written last, says it has."""
        try:
            manifest = Manifest.from_values(json.loads((folder / NAME).read_text("utf-8")))
            sizes = {entry.file: entry.bytes for entry in manifest.splits.values()}
            return manifest.task == self._task and all(
                (folder / file).stat().st_size == size for file, size in sizes.items()
            )
        except (OSError, ValueError, RecursionError):
            return False


def sync(path: Path) -> None:
    """Makes sure that a file's bytes, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two paths in one step; False where the system or the file system can't."""
    call = _renameat2()
    if call is None:
        return False
    paths = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    return call(*paths, _RENAME_EXCHANGE) == 0


@functools.cache
def _renameat2() -> "ctypes._NamedFuncPointer | None":
    """Linux's renameat2, which Python doesn't have."""
    try:
        return ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return None
