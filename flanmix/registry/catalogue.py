"""The catalogue: every task and mixture by name, found without opening a dataset.

It holds entries (see `collections`), not tasks: thousands of tasks are listed from file names or by
an adapter, a task is made when it is asked for, and a broken one never takes the others down.

    catalogue = default_catalogue()
    catalogue.names()                  -> ["pocket_sum", "rte", ...]
    catalogue.expand("flan2021/nli")   -> ["rte", "snli", ...]
    catalogue.task("rte")              -> TaskSpec(...)

A root is a folder of collections, each a folder of cards or one with an adapter in Python, and
each with its mixtures in `<root>/<collection>/mixtures.yaml`. The default roots are those in the
environment's FLANMIX_TASKS (joined as in PATH), `tasks/` in the working directory, and the folder
that comes with flanmix; after them come the collections that plugins registered. All of a
collection is taken from the first that has it. A name that two tasks share is an error, wherever
they are.
"""

import fnmatch
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flanmix.errors import UserError, nearest
from flanmix.plugins import load_plugins
from flanmix.registry.card import check_keys
from flanmix.registry.collections import COLLECTIONS, Collection, Entry, folder_collection
from flanmix.registry.mixture import MixtureSpec, mixture_keys, resolve
from flanmix.registry.paths import tasks_root
from flanmix.registry.task import TaskSpec
from flanmix.registry.yaml_file import read_yaml


class Catalogue:
    """Tasks and mixtures under some roots.

    Args:
        roots: folders of collections, the first ones first.
        registered: collections from elsewhere, after those of the roots.
    """

    def __init__(self, roots: Sequence[Path], registered: Iterable[Collection] = ()) -> None:
        self.roots = tuple(roots)
        self._registered = tuple(registered)
        self._tasks: dict[str, TaskSpec] = {}

    @functools.cached_property
    def collections(self) -> dict[str, Collection]:
        """The collections by name."""
        found: dict[str, Collection] = {}
        for root in self.roots:
            for folder in sorted(root.iterdir()) if root.is_dir() else ():
                if folder.is_dir() and not folder.name.startswith((".", "_")):
                    found.setdefault(folder.name, folder_collection(folder))
        for collection in self._registered:
            found.setdefault(collection.name, collection)
        return found

    @functools.cached_property
    def entries(self) -> dict[str, Entry]:
        """The entry of each task, by name.

        Raises:
            UserError: when two tasks have one name.
        """
        found: dict[str, Entry] = {}
        for collection in self.collections.values():
            for entry in collection.entries():
                if entry.name in found:
                    both = f"{found[entry.name].where} and {entry.where}"
                    raise UserError(f"task '{entry.name}' is declared twice: {both}; rename one")
                found[entry.name] = entry
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """Names of all tasks, sorted."""
        return list(self.entries)

    def task(self, name: str) -> TaskSpec:
        """Makes a task, once.

        Raises:
            UserError: when the name is unknown or the task's declaration has a mistake.
        """
        if name not in self._tasks:
            if name not in self.entries:
                raise UserError(f"task '{name}' is unknown{nearest(name, self.entries)}")
            self._tasks[name] = load_entry(self.entries[name])
        return self._tasks[name]

    @functools.cached_property
    def _mixtures(self) -> dict[str, tuple[Path, Any]]:
        found: dict[str, tuple[Path, Any]] = {}
        for collection in self.collections.values():
            path = (collection.folder or Path(os.devnull)) / "mixtures.yaml"
            for name, body in read_yaml(path).items() if path.is_file() else ():
                if name in found or name in self.entries:
                    other = found[name][0] if name in found else self.entries[name].where
                    raise UserError(f"mixture '{name}' of {path} is in {other} too; rename one")
                found[name] = (path, body)
        return dict(sorted(found.items()))

    def mixture_names(self) -> list[str]:
        """Names of all mixtures, sorted."""
        return list(self._mixtures)

    def is_mixture(self, name: str) -> bool:
        """Whether a mixture has this name, or this name before a colon."""
        return name.partition(":")[0] in self._mixtures

    def mixture(self, name: str) -> MixtureSpec:
        """Returns a mixture's declaration; `name:argument` gives its transform an argument.

        What else stands for tasks (a task's name, a collection, `collection/cluster`, a glob) is
        the mixture of those tasks, examples-proportional.

        Raises:
            UserError: when the name is unknown or the declaration has a mistake.
        """
        base, colon, argument = name.partition(":")
        if base not in self._mixtures:
            self.expand(name)
            return MixtureSpec(name=name, tasks=(name,))
        path, body = self._mixtures[base]
        at = f"{path}: mixture '{name}'"
        if not isinstance(body, dict):
            raise UserError(f"{at}: holds no mapping of keys to values")
        check_keys(body, mixture_keys(), ("tasks",), at)
        try:
            values: dict[str, Any] = {
                key: tuple(v) if isinstance(v, list) else v for key, v in body.items()
            }
            if isinstance(values.get("templates"), int):
                values["templates"] = tuple(range(values["templates"]))
            given = argument if colon else None
            return MixtureSpec(name=name, argument=given, folder=path.parent, **values)
        except (ValueError, TypeError) as error:
            raise UserError(f"{at}: {error}") from error

    def expand(self, pattern: str) -> list[str]:
        """Names of the tasks that a pattern stands for, sorted.

        Args:
            pattern: a task, a mixture, a collection, `collection/cluster`, or a glob over
                `collection/cluster/name`.

        Raises:
            UserError: when nothing has that name, or a mixture holds itself.
        """
        return self._expand(pattern, ())

    def _expand(self, pattern: str, above: tuple[str, ...]) -> list[str]:
        if pattern in self.entries:
            return [pattern]
        if pattern in above:
            raise UserError(f"mixture '{pattern}' holds itself: {' > '.join((*above, pattern))}")
        if self.is_mixture(pattern):
            mixture, within = self.mixture(pattern), (*above, pattern)
            dropped = {name for inner in mixture.without for name in self._expand(inner, within)}
            kept = {name for inner in mixture.tasks for name in self._expand(inner, within)}
            if mixture.transform is None:
                return sorted(kept - dropped)
            return list(resolve(mixture, self, lambda task: None).names)
        return self._matching(pattern)

    def _matching(self, pattern: str) -> list[str]:
        """The tasks of a collection, of a cluster, or of a glob."""
        globs = (pattern, f"{pattern}/*", f"{pattern}/*/*")
        names = [
            entry.name
            for entry in self.entries.values()
            if any(fnmatch.fnmatchcase(entry.key, glob) for glob in globs)
            or fnmatch.fnmatchcase(entry.name, pattern)
        ]
        if not names:
            clusters = {f"{entry.collection}/{entry.cluster}" for entry in self.entries.values()}
            near = nearest(pattern, [*self.entries, *self._mixtures, *self.collections, *clusters])
            raise UserError(f"no task, mixture or collection is named '{pattern}'{near}")
        return names

    def expand_all(self, patterns: Iterable[str]) -> list[str]:
        """Names of the tasks that any of the patterns stands for, sorted, each once."""
        return sorted({name for pattern in patterns for name in self.expand(pattern)})


def load_entry(entry: Entry) -> TaskSpec:
    """Makes an entry's task.

    Raises:
        UserError: when it can't be made, or is not the task that the entry names.
    """
    try:
        task = entry.load()
    except UserError:
        raise
    except Exception as error:  # whatever an adapter does
        raise UserError(f"task '{entry.name}' ({entry.where}) can't be made: {error!r}") from error
    made = f"{task.collection}/{task.cluster}/{task.name}"
    if made != entry.key:
        raise UserError(f"task '{entry.name}' ({entry.where}) makes task '{made}'")
    return task


def default_catalogue() -> Catalogue:
    """The catalogue of the environment's, the working directory's, flanmix's and plugins' tasks.

    Raises:
        UserError: FLANMIX_TASKS names no folder, or a plugin can't be imported.
    """
    load_plugins()
    listed = os.environ.get("FLANMIX_TASKS", "")
    roots = [Path(entry) for entry in listed.split(os.pathsep) if entry]
    for root in roots:
        if not root.is_dir():
            raise UserError(f"FLANMIX_TASKS names {root}, which is no folder")
    return Catalogue([*roots, Path("tasks"), tasks_root()], COLLECTIONS.values())
