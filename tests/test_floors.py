"""The floors of the house: every import of the package, read with `ast`, goes strictly down.

A room imports from the floors below it or from its own folder, wherever the import stands (in a
function's body and under `if TYPE_CHECKING` too); a heavy library only in rooms of its own.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.conftest import ROOT

FLOORS = {
    "errors": 0,
    "fields": 1,
    "plugins": 1,
    "console": 2,
    "registry": 2,
    "model": 2,
    "data": 3,
    "learn": 3,
    "convert": 4,
    "evaluate": 4,
    "train": 5,
    "audit": 5,
    "seqio_export": 5,
    "align": 6,
    "plan": 6,
    "pages": 6,
    "verbs": 7,
    "cli": 8,
    "__init__": 8,  # the Python API, whose names are imported when they are used
    "__main__": 9,
}
# Packages on different floors that still never know each other.
APART = {("data", "model")}

TENSORFLOW = {"tensorflow", "tensorflow_datasets", "tensorflow_text", "seqio", "t5"}
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
BENCH_ONLY = {"torch", "transformers"}

# library -> the only files, relative to flanmix/, that may import it
ONLY_IN = {name: ("data/sources/*.py", "seqio_export/*.py") for name in TENSORFLOW}
ONLY_IN |= {"gin": ("verbs/*.py",)}
# file pattern -> libraries that it may not import
NEVER_IN = {
    "registry/*": JAX,
    "errors.py": JAX,
    "cli.py": JAX | {"numpy"},
    "data/*": JAX,
    "*": BENCH_ONLY,
}
EXCEPT = {"data/loader.py": JAX}

MODULES = sorted((ROOT / "flanmix").rglob("*.py"))


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yields (line, dotted name) of all imports; `from a import b` yields `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(
                [*(parts if node.level else []), *([node.module] if node.module else [])]
            )
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            name = node.args[0]
            if called in ("import_module", "__import__") and isinstance(name, ast.Constant):
                yield node.lineno, str(name.value)


def room(parts: tuple[str, ...]) -> str:
    """Returns the room of `("flanmix", "data", "store")`: `data`."""
    return parts[1].removesuffix(".py") if len(parts) > 1 else "__init__"


def faults(path: str, source: str) -> list[str]:
    """Returns what is wrong with the imports of one module; `path` is relative to the checkout."""
    inside = path.removeprefix("flanmix/")
    here = room(tuple(path.split("/")))
    package = ".".join(path.split("/")[:-1])
    found = []
    for line, name in imports(source, package):
        parts = tuple(name.split("."))
        library = parts[0]
        if library == "flanmix":
            there = room(parts)
            if there in ("__init__", "__version__") or there == here:
                continue
            if there not in FLOORS:
                found.append(f"{path}:{line}: {name} is on no floor")
            elif FLOORS[there] >= FLOORS.get(here, -1) or (here, there) in APART:
                found.append(f"{path}:{line}: {here} may not import {name}")
            continue
        allowed = ONLY_IN.get(library)
        if allowed and not any(fnmatch(inside, pattern) for pattern in allowed):
            found.append(f"{path}:{line}: {library} is imported only in {', '.join(allowed)}")
        for pattern, libraries in NEVER_IN.items():
            if library in libraries - EXCEPT.get(inside, set()) and fnmatch(inside, pattern):
                found.append(f"{path}:{line}: {pattern} may not import {library}")
    return found


@pytest.mark.parametrize("path", [m.relative_to(ROOT).as_posix() for m in MODULES])
def test_imports_go_down(path: str) -> None:
    here = room(tuple(path.split("/")))
    assert here in FLOORS, f"{path} is on no floor: give it one"
    assert not faults(path, (ROOT / path).read_text())


def module_graph() -> dict[str, set[str]]:
    """The package's modules, each with those that it imports, wherever the import stands."""
    names = {".".join(m.relative_to(ROOT).with_suffix("").parts) for m in MODULES}
    names = {name.removesuffix(".__init__") for name in names}
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        package = ".".join(path.relative_to(ROOT).parts[:-1])
        found = {imported for _, imported in imports(path.read_text(), package)}
        modules = {i if i in names else i.rpartition(".")[0] for i in found}
        graph[name] = (modules & names) - {name}
    return graph


def test_no_modules_import_one_another() -> None:
    """A topological order of all modules exists, imports under TYPE_CHECKING included."""
    list(graphlib.TopologicalSorter(module_graph()).static_order())


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("flanmix/data/store/store.py", "import flanmix.model.t5"),
        ("flanmix/data/store/store.py", "from flanmix.learn import loss"),
        ("flanmix/registry/task.py", "from flanmix import data"),
        ("flanmix/registry/task.py", "def f():\n    import jax.numpy as jnp"),
        ("flanmix/registry/task.py", "from ..verbs import train"),
        ("flanmix/data/packing.py", "import jax"),
        ("flanmix/data/store/store.py", "import importlib\nimportlib.import_module('tensorflow')"),
        ("flanmix/model/t5.py", "import seqio"),
        ("flanmix/learn/step.py", "import gin"),
        ("flanmix/train/train.py", "import flanmix.cli"),
        ("flanmix/evaluate/rank.py", "if TYPE_CHECKING:\n    from flanmix.train import loop"),
        ("flanmix/train/train.py", "import tensorflow as tf"),
        ("flanmix/model/t5.py", "import torch"),
        ("flanmix/data/store/store.py", "import flanmix.utils"),
    ],
)
def test_the_reader_finds(path: str, source: str) -> None:
    assert len(faults(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "flanmix/data/store/store.py",
            "from flanmix.registry.record import Record",
        ),
        ("flanmix/data/loader.py", "import jax"),
        ("flanmix/data/sources/quiet_tensorflow.py", "def f():\n    import seqio, tensorflow"),
        ("flanmix/verbs/gin_config.py", "import gin"),
        ("flanmix/registry/paths.py", "import flanmix"),
        ("flanmix/evaluate/rank.py", "import jax\nfrom flanmix.data.loader import Loader"),
    ],
)
def test_the_reader_allows(path: str, source: str) -> None:
    assert faults(path, source) == []


def test_gin_never_shadows_the_library() -> None:
    assert not list((ROOT / "gin").rglob("*.py"))


def test_task_files_import_no_framework() -> None:
    for path in (ROOT / "tasks").rglob("*.py"):
        for line, name in imports(path.read_text(), "tasks"):
            assert name.split(".")[0] not in TENSORFLOW | JAX, f"{path}:{line} imports {name}"


def test_rooms_stay_small() -> None:
    """A module has at most 400 lines and a function at most 60: each reads at one sitting."""
    large = []
    for path in MODULES:
        source = path.read_text()
        if source.count("\n") > 400:
            large.append(f"{path.relative_to(ROOT)}: {source.count(chr(10))} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > 60:
                    large.append(
                        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} {size} lines"
                    )
    assert not large


def test_the_house_stands_without_tensorflow() -> None:
    """Importing every module imports no TensorFlow: the bridges import it when they are used."""
    names = [".".join(m.relative_to(ROOT).with_suffix("").parts) for m in MODULES]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    program = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        f"print(sorted({TENSORFLOW!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(ROOT), check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
