"""One process a run's folder: two that train in one would write over each other.

    with locked(Path("runs/a")):      # UserError while another process is in there
        ...

The lock is the system's own (`flock`) on `RUN_DIR/.lock`: it ends with the process that holds it,
however that ends, so a file that a killed run left is no lock. Reading needs none: what a run
writes beside its metrics appears whole or not at all.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from flanmix.console import warn
from flanmix.data.store.locking import NoLocks, acquire
from flanmix.errors import UserError

_NAME = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a run's folder and holds it; one that stays empty is removed again.

    Raises:
        UserError: another process holds it, or there is a file in the way.
    """
    new = not folder.exists()
    path, handle = folder / _NAME, _hold(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
            if new:
                folder.rmdir()
        os.close(handle)


def _hold(folder: Path) -> int:
    path = folder / _NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"RUN_DIR {folder} can't be made: a file is in the way") from None
    try:
        handle = acquire(path)
    except BlockingIOError:
        holder = ""
        with contextlib.suppress(OSError):  # its holder may just have removed it
            holder = path.read_text(errors="replace").strip()
        raise UserError(
            f"RUN_DIR {folder} is being written by another process ({holder or 'unknown'}): "
            "wait until it is done, or choose another RUN_DIR"
        ) from None
    except NoLocks as error:
        warn(
            f"RUN_DIR {folder} can't be locked ({error.strerror}): see to it that no other "
            "process trains there"
        )
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return handle
