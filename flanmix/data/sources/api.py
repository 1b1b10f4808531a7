"""What a source of raw records is, and the table of all kinds.

    task.source                               -> Source("jsonl", ".")
    source_of(task)                           -> the reader of `jsonl`
    source_of(task).rows(task, "train", "train.jsonl[:-200]", data_dir=None, warn=warn)
    -> ("train.jsonl line 1", {"text": "It rains.", "label": 1}), ...

A kind of source is one file with one registration, here or outside of the package (a module that
FLANMIX_PLUGINS names). This is a complete one, for `source: {parquet: folder}`:

    class ParquetSource:
        cheap, own_splits, settings = True, True, ()

        def files(self, task, data_dir):
            return {path.name: path for path in (task.folder / task.source.location).glob("*")}

        def rows(self, task, split, expression, *, data_dir, warn):
            return sliced(lambda name: self._read(task, name), expression, warn)

    register_source("parquet", ParquetSource())
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from flanmix.data.sources.slices import Warn
from flanmix.errors import UserError, nearest
from flanmix.plugins import Registry
from flanmix.registry.imports import code_files
from flanmix.registry.task import TaskSpec

# Where a raw record is, in words for messages, and the record.
Located = tuple[str, Mapping[str, Any]]


class SourceReader(Protocol):
    """Reads the raw records of one kind of source.

    Attributes:
        cheap: whether it is read at once and without a heavy library, so that `show` needs no
            store.
        own_splits: whether split expressions are those of `slices`, which `check` can read; else
            they are the source's own.
        settings: keys that a card may give beside the location; the class's docstring says under
            `Settings:` what each means, for the reference.
    """

    @property
    def cheap(self) -> bool: ...  # noqa: D102
    @property
    def own_splits(self) -> bool: ...  # noqa: D102
    @property
    def settings(self) -> tuple[str, ...]: ...  # noqa: D102

    def files(self, task: TaskSpec, data_dir: str | Path | None) -> Mapping[str, Path]:
        """The files that decide a task's raw records, by name, as far as they are known.

        One that changes makes what was prepared of the task out of date. Code is given with the
        files that it imports: see `python_files`.
        """
        ...

    def rows(
        self,
        task: TaskSpec,
        split: str,
        expression: str,
        *,
        data_dir: str | Path | None,
        warn: Warn,
    ) -> Iterator[Located]:
        """Yields the raw records of a split, in a fixed order.

        Args:
            task: the task.
            split: `train`, `validation` or `test`.
            expression: what the card calls it.
            data_dir: where the user keeps data.
            warn: callback for each warning, a line.

        Raises:
            UserError: the source is missing or broken; names the task.
            ValueError: the split expression is malformed.
        """
        ...


@runtime_checkable
class Fetching(Protocol):
    """A source whose data can be fetched, which is done only when asked."""

    def fetch(self, task: TaskSpec, data_dir: str | Path | None) -> None:
        """Fetches a task's data into the user's folder, unless they are there.

        Raises:
            UserError: they can't be had; the folder stays as it was.
        """
        ...


SOURCES: Registry[SourceReader] = Registry("source")


def register_source(kind: str, reader: SourceReader) -> SourceReader:
    """Adds a kind of source.

    Raises:
        UserError: the name belongs to another one.
    """
    return SOURCES.register(kind, reader)


def source_of(task: TaskSpec) -> SourceReader:
    """Returns the reader of a task's source.

    Raises:
        UserError: the kind is unknown, or does not take a setting that the card gives.
    """
    kind = task.source.kind
    if kind not in SOURCES:
        hint = nearest(kind, SOURCES) or f": one of {', '.join(SOURCES)}"
        raise UserError(f"task '{task.name}': source '{kind}' is unknown{hint}")
    reader = SOURCES[kind]
    for key in task.source.settings:
        if key not in reader.settings:
            hint = nearest(key, reader.settings) or ""
            raise UserError(f"task '{task.name}': source {kind} takes no '{key}'{hint}")
    return reader


def python_files(task: TaskSpec, reference: str) -> dict[str, Path]:
    """The Python files that `file.py:function` runs: its own and what it imports nearby.

    Returns:
        the files by their paths from the folder of `file.py`.
    """
    return code_files((task.folder or Path()) / reference.partition(":")[0])
