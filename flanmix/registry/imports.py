"""The files whose code a Python file runs, read from its text: itself and what it imports nearby.

    code_files(Path("tasks/mine/nli/toy.py"))
    -> {"common.py": ..., "lib/__init__.py": ..., "lib/words.py": ..., "toy.py": ...}

Nearby is the file's folder, and the folders of its collection for a name that nothing else has;
what is installed is not followed. Nothing is run, so the answer is there before the code is loaded.
A file that computes the name or the path of what it imports may mean any file of its folder, or of
a folder in that: all are taken.
"""

import ast
import functools
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_BY_NAME = ("import_module", "__import__")
_BY_PATH = ("spec_from_file_location", "run_path", "exec", "execfile", "SourceFileLoader")
_INSTALLED = {"site-packages", "dist-packages"}
# The name of a file whose import is computed.
_ANY = "*"


def code_files(file: Path) -> dict[str, Path]:
    """Returns a file and what it imports nearby, and what that imports, by paths from its folder.

    A file that is missing or broken imports nothing.
    """
    file = Path(os.path.normpath(file))
    return _followed([file], file.parent)


def module_files(name: str, folder: Path) -> dict[str, Path]:
    """Returns the files of a module, by its dotted name in a folder, as `code_files` does."""
    return _followed(_walk(folder, name.split(".")), folder)


def module_folder(name: str, folders: Iterable[Path]) -> Path | None:
    """Returns the first of some folders that has a module's package, or module."""
    top = name.partition(".")[0]
    for folder in folders:
        if (folder / top).is_dir() or (folder / f"{top}.py").is_file():
            return folder
    return None


def _followed(waiting: list[Path], home: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    while waiting:
        path = waiting.pop()
        name = Path(os.path.relpath(path, home)).as_posix()
        if name in found or not path.is_file():
            continue
        found[name] = path
        if not _INSTALLED & set(path.parts):
            for imported in _imports_of(path):
                waiting += _resolve(imported, path, home)
    return dict(sorted(found.items()))


def _imports_of(path: Path) -> tuple[str, ...]:
    status = path.stat()
    return _parsed(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@functools.lru_cache(maxsize=4096)
def _parsed(path: Path, *_: int) -> tuple[str, ...]:
    """The names that a file imports, relative ones with their dots."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    return tuple(dict.fromkeys(name for node in ast.walk(tree) for name in _names(node)))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        yield base
        for alias in node.names:
            yield f"{base}.{alias.name}" if node.module else f"{base}{alias.name}"
    elif isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        first = node.args[0] if node.args else None
        if name in _BY_NAME and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value
        elif name in _BY_NAME or name in _BY_PATH:
            yield _ANY


def _resolve(name: str, importer: Path, home: Path) -> Sequence[Path]:
    """The files of a name, its packages' among them; none if it is not nearby."""
    if name == _ANY:
        return sorted([*home.glob("*.py"), *home.glob("*/*.py")])
    level = len(name) - len(name.lstrip("."))
    parts = name[level:].split(".") if name[level:] else []
    if level:
        folder = importer.parent
        for _ in range(level - 1):
            folder = folder.parent
        return [folder / "__init__.py", *_walk(folder, parts)]
    if found := _walk(home, parts):
        return found
    if _is_elsewhere(parts[0]):
        return ()
    for nearby in (_subfolders(home), [home.parent, *_subfolders(home.parent)]):
        if found := [file for folder in nearby for file in _walk(folder, parts)]:
            return found
    return ()


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:  # it is not there, or not to be read
        return []


def _walk(folder: Path, parts: Sequence[str]) -> list[Path]:
    """The files that importing a dotted name runs, looked up in one folder."""
    found = []
    for part in parts:
        package, module = folder / part / "__init__.py", folder / f"{part}.py"
        if package.is_file():
            found.append(package)
        elif module.is_file():
            return [*found, module]
        elif not (folder / part).is_dir():
            break  # the name of something in a module
        folder = folder / part
    return found


@functools.cache
def _is_elsewhere(top: str) -> bool:
    """Whether a name is the standard library's or an installed package's."""
    if top in sys.stdlib_module_names or top in sys.modules:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False
