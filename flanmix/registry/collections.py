"""Collections: where tasks come from, as entries that are listed before any task is made.

    YamlCollection(Path("tasks/flan2021")).entries()
    -> Entry("rte", "flan2021", "nli", load=..., lint_path=tasks/flan2021/nli/rte.yaml), ...

A folder of cards is a collection: `<collection>/<cluster>/<name>.yaml`, each file a task. What has
no cards, such as a user's own copy of thousands of small tasks, is adapted in Python. A folder with
a `collection.py` gives the entries of its function `entries`, beside those of its cards:

    # tasks/natural/collection.py
    from flanmix.registry.collections import Entry

    def entries(folder):
        for path in sorted(folder.glob("copy/*.json")):
            yield Entry(path.stem, folder.name, "all", load=functools.partial(read, path))

`load` makes the `TaskSpec` and is called when the task is asked for: listing opens no file. One
that raises a UserError is a broken task and harms no other. An adapter that fails while it lists is
itself a broken entry, `natural/collection.py`, beside what it had listed.

An installed package or a plugin adds a collection with `register_collection`.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flanmix.errors import UserError
from flanmix.plugins import Registry
from flanmix.registry.card import load_card
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import load_function

ADAPTER = "collection.py"


@dataclass(frozen=True)
class Entry:
    """A task before it is made.

    Attributes:
        name: the task's name, unique among all.
        collection: its collection.
        cluster: its cluster.
        load: makes the task; raises a UserError where it is broken.
        lint_path: its card, where it has one that linting can read as text.
    """

    name: str
    collection: str
    cluster: str
    load: Callable[[], TaskSpec]
    lint_path: Path | None = None

    @property
    def key(self) -> str:
        """`<collection>/<cluster>/<name>`, which globs match."""
        return f"{self.collection}/{self.cluster}/{self.name}"

    @property
    def where(self) -> str:
        """Where it is declared, for messages."""
        return str(self.lint_path or self.key)


class Collection(Protocol):
    """A named group of tasks.

    Attributes:
        name: the collection's name.
        folder: where its `mixtures.yaml` may be; None for a collection without a folder.
    """

    name: str
    folder: Path | None

    def entries(self) -> Iterable[Entry]:
        """The tasks, in any order; no task is made and no dataset is opened."""
        ...


COLLECTIONS: Registry[Collection] = Registry("collection")


def register_collection(collection: Collection) -> Collection:
    """Adds a collection to the default catalogue.

    Raises:
        UserError: another collection has its name.
    """
    return COLLECTIONS.register(collection.name, collection)


def card_entry(path: Path) -> Entry:
    """The entry of a card: its names are those of the file and its folders."""
    return Entry(
        name=path.stem,
        collection=path.parent.parent.name,
        cluster=path.parent.name,
        load=functools.partial(load_card, path),
        lint_path=path,
    )


class YamlCollection:
    """A folder of cards, `<folder>/<cluster>/<name>.yaml`.

    Args:
        folder: the folder; its name is the collection's.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.folder: Path | None = folder
        self._folder = folder

    def entries(self) -> Iterator[Entry]:
        """The cards, by their file names alone."""
        for path in sorted(self._folder.glob("*/*.yaml")):
            yield card_entry(path)


class PythonCollection(YamlCollection):
    """A folder whose `collection.py` has a function `entries(folder)`; it may have cards too."""

    def entries(self) -> Iterator[Entry]:
        """The cards, then what the function yields; a failure is a broken entry."""
        yield from super().entries()
        owner = f"collection '{self.name}'"
        try:
            function = load_function(self._folder, f"{ADAPTER}:entries", owner)
            for entry in function(self._folder):
                yield self._checked(entry)
        except Exception as error:  # whatever an adapter does
            reason = str(error) if isinstance(error, UserError) else f"{owner}: {error!r}"
            name = f"{self.name}/{ADAPTER}"
            yield Entry(name, self.name, "", load=functools.partial(_broken, reason))

    def _checked(self, entry: object) -> Entry:
        if not isinstance(entry, Entry):
            raise TypeError(f"{ADAPTER} yields a {type(entry).__name__}, not an Entry")
        if entry.collection != self.name:
            raise ValueError(f"{ADAPTER} yields '{entry.key}': its collection is {self.name}")
        return entry


def _broken(reason: str) -> TaskSpec:
    raise UserError(reason)


def folder_collection(folder: Path) -> Collection:
    """The collection in a folder."""
    return (PythonCollection if (folder / ADAPTER).is_file() else YamlCollection)(folder)
