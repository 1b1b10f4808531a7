"""The catalogue: every task and mixture by name, found without opening a dataset.

A root is a folder of collections: `<root>/<collection>/<cluster>/<name>.yaml`, and
`<root>/<collection>/mixtures.yaml`. The file's name is the task's name, so thousands of tasks are
listed from file names alone; a card is parsed when it is asked for, and one broken card never takes
the others down.

    catalogue = default_catalogue()
    catalogue.names()                  -> ["pocket_sum", "rte", ...]
    catalogue.expand("flan2021/nli")   -> ["rte", "snli", ...]
    catalogue.task("rte")              -> TaskSpec(...)

The default roots are those in the environment's FLANMIX_TASKS (joined as in PATH), `tasks/` in the
working directory, and the folder that comes with flanmix. A collection is taken whole from the
first root that has it. A name that two cards share is an error, wherever they are.
"""

import fnmatch
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flanmix.errors import UserError, nearest
from flanmix.registry.card import check_keys, load_card, read_yaml
from flanmix.registry.mixture import MixtureSpec
from flanmix.registry.paths import tasks_root
from flanmix.registry.task import TaskSpec

_MIXTURE_KEYS = [
    "tasks",
    "without",
    "rate",
    "cap",
    "temperature",
    "rates",
    "templates",
    "few_shot",
    "few_shot_share",
    "loss_weights",
    "wording",
    "first_members",
    "first_tasks",
    "varies",
]


class Catalogue:
    """Tasks and mixtures under some roots."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._tasks: dict[str, TaskSpec] = {}

    @functools.cached_property
    def collections(self) -> dict[str, Path]:
        """The folder of each collection, by name."""
        found: dict[str, Path] = {}
        for root in self.roots:
            for folder in sorted(root.iterdir()) if root.is_dir() else ():
                if folder.is_dir() and not folder.name.startswith((".", "_")):
                    found.setdefault(folder.name, folder)
        return found

    @functools.cached_property
    def paths(self) -> dict[str, Path]:
        """The card of each task, by name.

        Raises:
            UserError: when two cards have one name.
        """
        found: dict[str, Path] = {}
        for folder in self.collections.values():
            for path in sorted(folder.glob("*/*.yaml")):
                if path.stem in found:
                    both = f"{found[path.stem]} and {path}"
                    raise UserError(f"task '{path.stem}' is declared twice: {both}; rename one")
                found[path.stem] = path
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """Names of all tasks, sorted."""
        return list(self.paths)

    def task(self, name: str) -> TaskSpec:
        """Parses a task's card, once.

        Raises:
            UserError: when the name is unknown or the card has a mistake.
        """
        if name not in self._tasks:
            if name not in self.paths:
                raise UserError(f"task '{name}' is unknown{nearest(name, self.paths)}")
            self._tasks[name] = load_card(self.paths[name])
        return self._tasks[name]

    @functools.cached_property
    def _mixtures(self) -> dict[str, tuple[Path, Any]]:
        found: dict[str, tuple[Path, Any]] = {}
        for folder in self.collections.values():
            path = folder / "mixtures.yaml"
            for name, body in read_yaml(path).items() if path.is_file() else ():
                if name in found or name in self.paths:
                    raise UserError(f"{path}: the name '{name}' is taken; choose another")
                found[name] = (path, body)
        return dict(sorted(found.items()))

    def mixture_names(self) -> list[str]:
        """Names of all mixtures, sorted."""
        return list(self._mixtures)

    def is_mixture(self, name: str) -> bool:
        """Whether a mixture has this name, or this name before a colon and a number."""
        return name.partition(":")[0] in self._mixtures

    def mixture(self, name: str) -> MixtureSpec:
        """Returns a mixture's declaration.

        What else stands for tasks (a task's name, a collection, `collection/cluster`, a glob) is
        the mixture of those tasks, examples-proportional.

        Raises:
            UserError: when the name is unknown or the declaration has a mistake.
        """
        base, colon, number = name.partition(":")
        if base not in self._mixtures:
            self.expand(name)
            return MixtureSpec(name=name, tasks=(name,))
        path, body = self._mixtures[base]
        at = f"{path}: mixture '{name}'"
        if not isinstance(body, dict):
            raise UserError(f"{at}: holds no mapping of keys to values")
        check_keys(body, _MIXTURE_KEYS, ("tasks",), at)
        if colon:
            body = {**body, **_varied(body, number, at)}
        try:
            values: dict[str, Any] = {
                key: tuple(v) if isinstance(v, list) else v for key, v in body.items()
            }
            if isinstance(values.get("templates"), int):
                values["templates"] = tuple(range(values["templates"]))
            return MixtureSpec(name=name, **values)
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
        if pattern in self.paths:
            return [pattern]
        if pattern in above:
            raise UserError(f"mixture '{pattern}' holds itself: {' > '.join((*above, pattern))}")
        if self.is_mixture(pattern):
            spec, within = self.mixture(pattern), (*above, pattern)
            dropped = {name for inner in spec.without for name in self._expand(inner, within)}
            kept = {name for inner in spec.members for name in self._expand(inner, within)}
            return spec.first(kept - dropped)
        globs = (pattern, f"{pattern}/*", f"{pattern}/*/*")
        names = [
            name
            for name, path in self.paths.items()
            if any(fnmatch.fnmatchcase(_place(path), glob) for glob in globs)
            or fnmatch.fnmatchcase(name, pattern)
        ]
        if not names:
            places = {_place(path) for path in self.paths.values()}
            clusters = {place.rsplit("/", 1)[0] for place in places}
            near = nearest(pattern, [*self.paths, *self._mixtures, *self.collections, *clusters])
            raise UserError(f"no task, mixture or collection is named '{pattern}'{near}")
        return names

    def expand_all(self, patterns: Iterable[str]) -> list[str]:
        """Names of the tasks that any of the patterns stands for, sorted, each once."""
        return sorted({name for pattern in patterns for name in self.expand(pattern)})


def _varied(body: Mapping[str, Any], number: str, at: str) -> dict[str, int]:
    """What the number behind a mixture's name stands for."""
    if "varies" not in body:
        raise UserError(f"{at}: takes no number: it has no key 'varies'")
    if not (number.isascii() and number.isdecimal() and int(number)):
        raise UserError(f"{at}: '{number}' is no number from 1 for its {body['varies']}")
    return {body["varies"]: int(number)}


def _place(path: Path) -> str:
    """`<collection>/<cluster>/<name>` of a card."""
    return "/".join((*path.parts[-3:-1], path.stem))


def default_catalogue() -> Catalogue:
    """The catalogue of the environment's, the working directory's and flanmix's own tasks."""
    listed = os.environ.get("FLANMIX_TASKS", "")
    roots = [Path(entry) for entry in listed.split(os.pathsep) if entry]
    for root in roots:
        if not root.is_dir():
            raise UserError(f"FLANMIX_TASKS names {root}, which is no folder")
    return Catalogue([*roots, Path("tasks"), tasks_root()])
