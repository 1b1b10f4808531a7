"""Tasks that a SeqIO program has registered.

    source: {seqio: "my.tasks:my_task"}          what a task makes: {"inputs": .., "targets": ..}
    source: {seqio: "my.tasks:my_task@source"}   the raw examples of the task's source

`my.tasks` is imported first, from the working directory, the card's folder or what is installed;
without it the task must have been registered already. A task's features are texts here: the
pretokenized text where there is one, else its ids, decoded. So a card that takes `inputs` and
`targets` as they are, with the template "{inputs}", trains a foreign task.

The other direction, our tasks in SeqIO's registries, is `seqio_export`.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flanmix.data.sources.api import Located, register_source
from flanmix.data.sources.quiet_tensorflow import import_seqio, located, plain, plain_rows
from flanmix.data.sources.slices import Warn, sliced
from flanmix.errors import UserError, nearest
from flanmix.registry.imports import module_files, module_folder
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import load_named

if TYPE_CHECKING:
    import seqio

_SOURCE = "@source"


class SeqioSource:
    """A task in SeqIO's registry."""

    cheap = False
    own_splits = False
    settings = ()

    def files(self, task: TaskSpec, data_dir: str | Path | None) -> dict[str, Path]:
        """The module's and what it imports beside it; what a SeqIO task reads is not known."""
        module, _, _ = task.source.location.removesuffix(_SOURCE).rpartition(":")
        folder = _folder_of(task, module) if module else None
        return {} if folder is None else module_files(module, folder)

    def rows(
        self,
        task: TaskSpec,
        split: str,
        expression: str,
        *,
        data_dir: str | Path | None,
        warn: Warn,
    ) -> Iterator[Located]:
        """Yields what the task or its source makes of one of its splits, sliced."""

        def rows() -> Iterator[Mapping[str, Any]]:
            foreign, raw = foreign_task(task)
            yield from sliced(lambda name: _foreign_rows(foreign, raw, name), expression, warn)

        return located(task, expression, rows())


def foreign_task(task: TaskSpec) -> "tuple[seqio.Task, bool]":
    """Finds the SeqIO task that a card names; True means that its source's examples are wanted.

    Raises:
        UserError: when its module can't be imported or there is no such task.
    """
    seqio = import_seqio()
    location = task.source.location
    raw = location.endswith(_SOURCE)
    module, _, name = location.removesuffix(_SOURCE).rpartition(":")
    if module:
        _import_module(task, module)
    if name in seqio.MixtureRegistry.names():
        members = ", ".join(task.name for task in seqio.MixtureRegistry.get(name).tasks)
        raise UserError(
            f"task '{task.name}': '{name}' is a SeqIO mixture; make a card for each of its tasks "
            f"({members}) and mix those"
        )
    if name not in seqio.TaskRegistry.names():
        near = nearest(name, seqio.TaskRegistry.names())
        hint = "" if module else "; name the module that registers it: my.module:task"
        raise UserError(f"task '{task.name}': SeqIO has no task '{name}'{near}{hint}")
    return seqio.TaskRegistry.get(name), raw


def _folder_of(task: TaskSpec, module: str) -> Path | None:
    """The folder where a module is found: the working directory, the card's, or an installed one's.

    None if it is nowhere.
    """
    near = [Path.cwd(), *([task.folder] if task.folder else [])]
    if folder := module_folder(module, near):
        return folder
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])  # nothing is imported
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    return (
        Path(spec.origin).parent.parent
        if spec.submodule_search_locations
        else Path(spec.origin).parent
    )


def _import_module(task: TaskSpec, module: str) -> None:
    folder = _folder_of(task, module)
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        if folder is not None and folder in (Path.cwd(), task.folder):
            _REGISTRATIONS.load(folder.resolve(), module)
        else:
            importlib.import_module(module)
    except Exception as error:
        raise UserError(
            f"task '{task.name}': module {module} fails to import: {error!r}"
        ) from error
    finally:
        sys.path[:] = before


class _Registrations:
    """What modules beside cards have registered: two folders may have the same names."""

    def __init__(self) -> None:
        # Of each module that was loaded: its folder, itself, and what it registered where.
        self._loaded: list[tuple[Path, ModuleType, list[tuple[Any, str, Any]]]] = []

    def load(self, folder: Path, name: str) -> None:
        """Loads a module; what others of its folder registered stays, no other folder's does."""
        seqio = import_seqio()
        registries = (seqio.TaskRegistry, seqio.MixtureRegistry)
        for where, module, added in list(self._loaded):
            current = sys.modules.get(module.__name__) is module
            if where != folder or not current:
                for registry, key, provider in added:
                    if key in registry.names() and registry.get(key) is provider:
                        registry.remove(key)
            if not current:
                self._loaded.remove((where, module, added))
        for where, _, added in self._loaded:
            for registry, key, provider in added if where == folder else ():
                if key not in registry.names():
                    registry.add_provider(key, provider)
        before = [set(registry.names()) for registry in registries]
        module = load_named(folder, name)
        new = [
            (registry, key, registry.get(key))
            for registry, known in zip(registries, before, strict=True)
            for key in registry.names()
            if key not in known
        ]
        if new:
            self._loaded.append((folder, module, new))


_REGISTRATIONS = _Registrations()


def _foreign_rows(task: "seqio.Task", raw: bool, split: str) -> Iterator[Mapping[str, Any]]:
    if split not in task.splits:
        known = ", ".join(task.splits)
        raise UserError(f"SeqIO task '{task.name}' has no split '{split}': {known}")
    if raw:
        yield from plain_rows(task.source, split)
        return
    dataset = task.get_dataset(
        sequence_length=None, split=split, shuffle=False, seed=0, try_in_mem_cache=False
    )
    for example in dataset.as_numpy_iterator():
        row = dict(plain(example))
        for name, feature in task.output_features.items():
            row[name] = _text(row, name, feature)
        yield row


def _text(row: Mapping[str, Any], name: str, feature: "seqio.Feature") -> Any:
    """A feature of a foreign example as text: as it was before tokenizing, or its ids decoded."""
    if f"{name}_pretokenized" in row:
        return row[f"{name}_pretokenized"]
    value = row[name]
    if getattr(getattr(value, "dtype", None), "kind", "") in "iu" and feature.rank == 1:
        return feature.vocabulary.decode([int(number) for number in value])
    return value


register_source("seqio", SeqioSource())
