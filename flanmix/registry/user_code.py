"""Small named Python functions beside a card: `file.py:function`, loaded by path.

    load_function(Path("tasks/mine/nli"), "toy.py:canonical", "task 'toy'")(raw)  ->  {...}

What YAML can't say (a pronoun's span, a made-up dataset, an ablation) is a function in a Python
file beside the YAML file that names it. Files in one folder may import one another by name, as
those beside a script do, at their head or later. A folder's modules are its own: `common.py` beside
one card is another module than `common.py` beside another. A file is loaded once, from its text and
not from cached bytecode, and `loaded_hash` says what was loaded.
"""

import builtins
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from flanmix.errors import UserError, nearest

_PREFIX = "flanmix_cards_"
_INSTALLED = {"site-packages", "dist-packages"}


@functools.cache
def load_function(folder: Path | None, reference: str, owner: str) -> Callable[..., Any]:
    """Returns the function that `reference`, `file.py:function`, names.

    Args:
        folder: where the file is.
        reference: the file and the function in it.
        owner: who names it, for messages: `task 'rte'`, `mixture 'pocket_train'`.

    Raises:
        UserError: when the file or the function is missing, or the file fails to load.
    """
    file, _, name = reference.partition(":")
    if folder is None or not file or not name:
        raise UserError(f"{owner}: '{reference}' is no function: write file.py:function")
    path = folder / file
    if not path.is_file():
        raise UserError(f"{owner}: {path} is missing; '{reference}' needs it")
    try:
        module = load_module(path)
    except Exception as error:  # whatever a user's module does
        reason = repr(error).replace(f"{_package(path.resolve().parent).name}.", "")
        raise UserError(f"{owner}: {path} fails to load: {reason}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{owner}: {path} has no function '{name}'{nearest(name, vars(module))}")
    return function


def load_module(path: Path) -> ModuleType:
    """Loads a Python file, once, as a module of its folder; raises whatever the file raises."""
    path = path.resolve()
    return _package(path.parent).load(path)


def load_named(folder: Path, name: str) -> ModuleType:
    """Loads a module by its dotted name, once, as one of a folder; raises whatever it raises."""
    return _package(folder.resolve()).load_named(name)


def loaded_hash(path: Path) -> str | None:
    """The SHA-256 of a file's text as it was loaded; None if it has not been."""
    path = path.resolve()
    for package in _PACKAGES.values():
        if path in package.loaded:
            return package.loaded[path][1]
    return None


def forget_changed() -> None:
    """Forgets the folders with a loaded file that is another one by now: they are loaded anew."""
    for package in list(_PACKAGES.values()):
        if any(_is_another(path, *was) for path, was in package.loaded.items()):
            del _PACKAGES[package.folder]
            for name in [name for name in sys.modules if name.partition(".")[0] == package.name]:
                del sys.modules[name]
    load_function.cache_clear()


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _is_another(path: Path, stamp: tuple[int, ...], text_hash: str) -> bool:
    try:
        if _stamp(path) == stamp:
            return False
        return _hash(path.read_bytes()) != text_hash
    except OSError:
        return True


class _Package:
    """A folder of cards as a package: its modules have the package's name before their own.

    Attributes:
        name: the package's name, by the folder's path.
        folder: the folder.
        loaded: of each file that was loaded, what tells it from another, and its SHA-256.
        builtins: what its modules have built in, with their own `import`.
    """

    def __init__(self, folder: Path) -> None:
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        self.name = f"{_PREFIX}{digest}"
        self.folder = folder
        self.loaded: dict[Path, tuple[tuple[int, ...], str]] = {}
        self.builtins = {**vars(builtins), "__import__": self._import}
        self._path_before: list[str] | None = None  # sys.path, while a file is loaded
        self._foreign: set[str] = set()
        self._module = ModuleType(self.name)
        self._module.__path__ = [str(folder)]
        sys.modules[self.name] = self._module

    def load(self, path: Path) -> ModuleType:
        """Loads a file of the folder, unless it has been loaded."""
        name = f"{self.name}.{path.stem.replace('.', ':')}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, path, self))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            with self._loading():
                spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    def load_named(self, name: str) -> ModuleType:
        """Loads a module by its dotted name, from the folder or from where else it is."""
        with self._loading():
            self._import(name)
        return sys.modules.get(f"{self.name}.{name}") or sys.modules[name]

    @contextlib.contextmanager
    def _loading(self) -> Iterator[None]:
        known = set(sys.modules)
        sys.path.insert(0, str(self.folder))  # for what imports otherwise than by a statement
        self._path_before = list(sys.path)
        try:
            yield
            self._adopt()
        finally:
            self._path_before = None
            sys.path.remove(str(self.folder))
            self._remove_strays(known)

    def _adopt(self) -> None:
        """Makes folders of the collection that a file has put on the path the package's own."""
        if self._path_before is None:
            return
        for entry in [entry for entry in sys.path if entry not in self._path_before]:
            folder = Path(entry).resolve()
            if folder.is_relative_to(self.folder.parent):
                sys.path.remove(entry)
                self._module.__path__.append(str(folder))
                self._foreign.clear()

    def _remove_strays(self, known: set[str]) -> None:
        """Leaves no module of the folder under its bare name, which another folder may give too."""
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if name.startswith(_PREFIX) or not file:
                continue
            path = Path(file)
            if _INSTALLED & set(path.parts):
                continue
            if any(path.is_relative_to(folder) for folder in self._module.__path__):
                del sys.modules[name]
                self.loaded[path.resolve()] = (_stamp(path), _hash(path.read_bytes()))

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """The `import` statement in the folder's modules: a neighbour comes before all others."""
        current = _package(self.folder)
        if current is not self:  # the folder was forgotten, and a function of it is still called
            return current._import(name, globals, locals, fromlist, level)
        top = name.partition(".")[0]
        if level or not self._has(top, (globals or {}).get("__file__")):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{self.name}.{name}")
        return sys.modules[f"{self.name}.{top}"]

    def _has(self, top: str, importer: str | None) -> bool:
        """Whether a name is a neighbour's, and not the importing file's own."""
        self._adopt()
        known = sys.modules.get(f"{self.name}.{top}")
        if known is not None:
            return getattr(known, "__file__", None) != importer
        if top in self._foreign:
            return False
        spec = PathFinder.find_spec(top, self._module.__path__)
        if spec is None or (spec.origin is None and _is_elsewhere(top)):
            self._foreign.add(top)
            return False
        loaded = getattr(sys.modules.get(top), "__file__", None)
        return spec.origin is None or spec.origin not in (importer, loaded)


def _is_elsewhere(top: str) -> bool:
    """Whether a module is found without its folder: one without __init__.py then gives way."""
    if top in sys.modules:
        return True
    spec = importlib.util.find_spec(top)
    return spec is not None and spec.origin is not None


_PACKAGES: dict[Path, _Package] = {}


def _package(folder: Path) -> _Package:
    if folder not in _PACKAGES:
        _PACKAGES[folder] = _Package(folder)
    return _PACKAGES[folder]


class _Finder:
    """Finds modules of folders of cards."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        top = name.partition(".")[0]
        package = next((found for found in _PACKAGES.values() if found.name == top), None)
        spec = PathFinder.find_spec(name, path, target) if package else None
        if package and spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, Path(spec.loader.path), package)
        return spec


class _Loader(SourceFileLoader):
    """Loads a file's text as it is, with its folder's `import`."""

    def __init__(self, name: str, path: Path, package: _Package) -> None:
        super().__init__(name, str(path))
        self._package = package

    def path_stats(self, path: Any) -> Any:
        """There are none: bytecode that is looked up by time stamp may be an older text's."""
        raise OSError

    def get_data(self, path: Any) -> bytes:
        """Reads the text, and keeps its hash."""
        file = Path(path).resolve()
        stamp = _stamp(file)
        data = super().get_data(path)
        self._package.loaded[file] = (stamp, _hash(data))
        return data

    def exec_module(self, module: ModuleType) -> None:
        """Runs the text."""
        module.__dict__["__builtins__"] = self._package.builtins
        super().exec_module(module)


sys.meta_path.insert(0, _Finder())
