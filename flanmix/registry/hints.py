"""The one hint that most errors about data end with.

prepare_hint("rte", "store")    -> "run: flanmix prepare rte --store store"
prepare_hint("rte")             -> "run: flanmix prepare rte --store DIR"
"""

import shlex
from collections.abc import Iterable
from pathlib import Path


def prepare_hint(
    names: str | Iterable[str], store: str | Path | None = None, data_dir: str | None = None
) -> str:
    """Returns the command that prepares tasks, as a hint.

    Args:
        names: a task, a mixture or whatever else stands for tasks; or several.
        store: the store; None where the user has not named one.
        data_dir: where the user keeps datasets, if that is known.
    """
    named = [names] if isinstance(names, str) else list(names)
    folder = "DIR" if store is None else shlex.quote(str(store))
    command = ["flanmix prepare", *map(shlex.quote, named), "--store", folder]
    if data_dir:
        command += ["--data_dir", shlex.quote(data_dir)]
    return f"run: {' '.join(command)}"
