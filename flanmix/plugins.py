"""Tables of named things (models, sources, metrics, ...) that code outside the package can add to.

    MODELS: Registry[type] = Registry("model")
    MODELS.register("T5Config", T5Config)
    MODELS["T5Config"]      -> the class
    MODELS["T5Confg"]       -> UserError: model 'T5Confg' is unknown; did you mean 'T5Config'?

A plugin is a module whose import registers. Users name theirs in an environment variable, and an
installed package names its own as an entry point of the group `flanmix.plugins`:

    FLANMIX_PLUGINS=my_metrics,lab.models flanmix train ...
    entry_points={"flanmix.plugins": ["lab = lab.models"]}
"""

import functools
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from flanmix.errors import UserError, nearest

VARIABLE = "FLANMIX_PLUGINS"
GROUP = "flanmix.plugins"

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """A mapping from names to things of one kind, in the order in which they were registered."""

    def __init__(self, kind: str) -> None:
        """Makes an empty table.

        Args:
            kind: what the things are, as error messages call one ("model", "metric").
        """
        self.kind = kind
        self._things: dict[str, T] = {}

    def register(self, name: str, thing: T) -> T:
        """Adds a thing and returns it; the same thing again changes nothing.

        Raises:
            UserError: the name belongs to another thing.
        """
        known = self._things.setdefault(name, thing)
        if known is not thing and known != thing:
            raise UserError(
                f"{self.kind} {name!r} is registered already, as {known!r}: "
                f"choose another name for {thing!r}"
            )
        return known

    def __getitem__(self, name: str) -> T:
        """Returns the thing of that name.

        Raises:
            UserError: the name is unknown; says the nearest one.
        """
        if name not in self._things:
            raise UserError(f"{self.kind} {name!r} is unknown{nearest(str(name), self._things)}")
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    # Mapping's own waits for a KeyError.
    def get(self, name: str, default: Any = None) -> Any:  # pyrefly: ignore[bad-override]
        """Returns the thing of that name, or the default."""
        return self._things.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(self._things)})"


@functools.cache
def load_plugins() -> None:
    """Imports the plugins, once a process: those of FLANMIX_PLUGINS, then the installed ones.

    The working directory is searched last, so that a file there never hides a library.

    Raises:
        UserError: a plugin is missing or fails while it is imported.
    """
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    if any(named) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in filter(None, named):
        _load(name, f"named in {VARIABLE}", functools.partial(importlib.import_module, name))
    for entry in importlib.metadata.entry_points(group=GROUP):
        where = f"installed as an entry point of {GROUP}, {entry.value}"
        _load(entry.name, where, entry.load)


def _load(name: str, where: str, load: Callable[[], object]) -> None:
    try:
        load()
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0] and error.name != name:
            raise _failure(name, where, error) from error
        raise UserError(
            f"plugin {name!r} ({where}) is not found: install it, put its folder on PYTHONPATH, or "
            "run where it lies"
        ) from error
    except Exception as error:  # whatever a user's module does
        raise _failure(name, where, error) from error


def _failure(name: str, where: str, error: Exception) -> UserError:
    reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return UserError(f"plugin {name!r} ({where}) can't be imported: {reason}")
