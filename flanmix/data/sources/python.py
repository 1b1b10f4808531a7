"""Raw records from a function beside the card: `source: {python: "generate.py:rows"}`.

    def rows(split):                      # called with the name in the split expression
        for number in range(100):
            yield {"question": f"{number} + 1", "answer": number + 1}

The function is called anew for each split, and again where a slice counts from the end: it must
yield the same records each time.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from flanmix.data.sources.api import Located, python_files, register_source
from flanmix.data.sources.slices import Warn, sliced
from flanmix.errors import UserError
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import load_function


class PythonSource:
    """A generator function in a Python file beside the card."""

    cheap = True
    own_splits = True
    settings = ()

    def files(self, task: TaskSpec, data_dir: str | Path | None) -> dict[str, Path]:
        """The function's file and what it imports beside it."""
        return python_files(task, task.source.location)

    def rows(
        self,
        task: TaskSpec,
        split: str,
        expression: str,
        *,
        data_dir: str | Path | None,
        warn: Warn,
    ) -> Iterator[Located]:
        """Yields what the function makes, sliced."""
        return sliced(lambda name: _rows(task, name), expression, warn)


def _rows(task: TaskSpec, name: str) -> Iterator[Located]:
    location = task.source.location
    function = load_function(task.folder, location, f"task '{task.name}'")
    called = f"{task.folder}/{location}('{name}')"
    try:
        made = function(name)
        if not isinstance(made, Iterable):
            raise TypeError(f"returned a {type(made).__name__}, not an iterable of records")
        for number, row in enumerate(made):
            yield f"record {number} of {called}", row
    except UserError:
        raise
    except Exception as error:  # whatever a user's function does
        raise UserError(f"task '{task.name}': {called} fails: {error!r}") from error


register_source("python", PythonSource())
