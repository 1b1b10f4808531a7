"""Where the tasks and the gin files are, from a checkout and when installed.

In a checkout they are the top-level folders `tasks/` and `gin/`. An installed package carries the
same two folders as `flanmix/_tasks` and `flanmix/_gin` (setup.py puts them there).
"""

from pathlib import Path

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
