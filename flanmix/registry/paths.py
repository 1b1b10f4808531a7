"""Where the tasks and the gin files are, from a checkout and when installed; and what is a path.

In a checkout they are the top-level folders `tasks/` and `gin/`. An installed package carries the
same two folders as `flanmix/_tasks` and `flanmix/_gin` (setup.py puts them there).
"""

import re
from pathlib import Path

from flanmix.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent


def _place(name: str) -> Path:
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name


def tasks_root() -> Path:
    """The folder of cards that comes with flanmix."""
    return _place("tasks")


def gin_root() -> Path:
    """The folder of gin files that comes with flanmix."""
    return _place("gin")


def address(path: str | Path) -> str | None:
    """Says why something is no path, if it is an address such as `gs://bucket/store`.

    Taken for a path, it would make a folder `gs:` in the working directory.
    """
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(path))  # a Path has one of the slashes
    if scheme is None:
        return None
    return f"an address ({scheme[0]}/...), and only paths of this machine work: mount or copy it"


def check_local(path: str | Path, name: str) -> None:
    """Checks that something is a path and no address.

    Args:
        path: what was given.
        name: what it was given for, as the user calls it.

    Raises:
        UserError: it is an address.
    """
    if why := address(path):
        raise UserError(f"{name} is '{path}': {why}")
