"""One writer a task: a lock that ends with its process, however that ends.

    with locked(Path("store/.partial/rte-lock"), "rte"):
        ...                                            # no other process is in such a block

The lock is the kernel's (`flock`) on a file of no content: a file that a killed process left is no
obstacle. Whoever holds it removes the file, and its folder if that is empty, so that a store at
rest has neither.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from flanmix.errors import UserError

_ATTEMPTS = 1000


class TaskBusy(UserError):
    """Another process is writing the task."""


@contextlib.contextmanager
def locked(path: Path, task: str, wait: bool = False) -> Iterator[None]:
    """Holds the lock during the block.

    Args:
        path: the lock's file; its folder is made.
        task: whose it is, for the message.
        wait: whether to wait for another process that holds it.

    Raises:
        TaskBusy: another process, or another block of this one, holds it.
    """
    handle = _acquire(path, task, wait)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _acquire(path: Path, task: str, wait: bool) -> int:
    for _ in range(_ATTEMPTS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except (FileNotFoundError, FileExistsError):
            continue  # its folder has just been removed by another writer that was done
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Between opening and locking, the holder may have been done and removed the file.
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise TaskBusy(
                f"another process is writing task '{task}' in {path.parent.parent}: wait until it "
                "is done"
            ) from None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise UserError(f"{path} can't be made: is {path.parent} a folder?")
