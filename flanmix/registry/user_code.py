"""Small named Python functions beside a card: `file.py:function`, loaded by path.

    load_function(Path("tasks/mine/nli"), "toy.py:canonical", "task 'toy'")(raw)  ->  {...}

What YAML can't say (a pronoun's span, a made-up dataset, an ablation) is a function in a Python
file beside the YAML file that names it. Files in one folder may import one another by name: the
folder is on the path while its file is loaded. A file is loaded once.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flanmix.errors import UserError, nearest


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
        module = _load(path.resolve())
    except Exception as error:  # whatever a user's module does
        raise UserError(f"{owner}: {path} fails to load: {error!r}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{owner}: {path} has no function '{name}'{nearest(name, vars(module))}")
    return function


@functools.cache
def _load(path: Path) -> Any:
    name = "flanmix_card_" + "_".join(path.with_suffix("").parts[-3:])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
