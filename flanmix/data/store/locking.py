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


class NoLocks(OSError):
    """A file can't be locked: some network file systems have no locks."""


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
    try:
        handle = acquire(path, wait=wait)
    except BlockingIOError:
        raise TaskBusy(
            f"another process is writing task '{task}' in {path.parent.parent}: wait until it is "
            "done"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def acquire(path: Path, *, wait: bool = False) -> int:
    """Returns the handle of a file that this process has locked; its folder is made.

    Args:
        path: the file; whoever holds the lock may remove it.
        wait: whether to wait for another process that holds it.

    Raises:
        BlockingIOError: another process holds it.
        NoLocks: the file system has none.
        UserError: the file can't be made.
    """
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
            raise
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(handle)
            raise NoLocks(error.errno, error.strerror) from error
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise UserError(f"{path} can't be made: is {path.parent} a folder?")
