"""TFDS datasets: `source: {tfds: "super_glue/rte:1.0.2"}`, through SeqIO's TfdsDataSource.

Split expressions are TFDS's own, `train[:-200]` and `train+test` among them. A slice that is longer
than the data is clamped first, with a warning, since TFDS 4.9.10 refuses it. A dataset that is not
there is an error: reading downloads nothing (`datasets`).
"""

import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flanmix.data.sources.api import Located, register_source
from flanmix.data.sources.datasets import fetch, found
from flanmix.data.sources.quiet_tensorflow import brief, import_seqio, located, plain_rows
from flanmix.data.sources.slices import Warn, clamped_expression
from flanmix.errors import UserError, nearest
from flanmix.registry.task import TaskSpec

if TYPE_CHECKING:
    import seqio


class TfdsSource:
    """A dataset of TensorFlow Datasets, by its name with its version."""

    cheap = False
    own_splits = False
    settings = ()

    def files(self, task: TaskSpec, data_dir: str | Path | None) -> dict[str, Path]:
        """The dataset's own description."""
        name = task.source.location
        default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        folder = Path(data_dir or default).expanduser() / name.replace(":", "/")
        return {name: folder / "dataset_info.json"}

    def fetch(self, task: TaskSpec, data_dir: str | Path | None) -> None:
        """Downloads the dataset, unless it is there."""
        fetch(task.source.location, _folder(data_dir), f"task '{task.name}'")

    def rows(
        self,
        task: TaskSpec,
        split: str,
        expression: str,
        *,
        data_dir: str | Path | None,
        warn: Warn,
    ) -> Iterator[Located]:
        """Yields the dataset's examples, in the order of its files."""

        def rows() -> Iterator[Mapping[str, Any]]:
            # At once, before TensorFlow is imported.
            found(task.source.location, _folder(data_dir), f"task '{task.name}'")
            yield from plain_rows(tfds_source(task, data_dir, warn), split)

        return located(task, expression, rows())


def tfds_source(
    task: TaskSpec,
    data_dir: str | Path | None,
    warn: Warn,
    source_class: "type[seqio.TfdsDataSource] | None" = None,
) -> "seqio.TfdsDataSource":
    """The task's TFDS dataset as a SeqIO source, its slices clamped to the rows that there are.

    Nothing is opened before a split is read.

    Args:
        task: the task.
        data_dir: where TFDS finds its datasets.
        warn: callback for a slice that was clamped, a line.
        source_class: made instead of TfdsDataSource itself.

    Raises:
        UserError: when the name is none of TFDS's; when a split is read, also for a dataset that
            has no such split.
        MissingDataset: when a split is read of a dataset that is not there.
    """
    seqio = import_seqio()
    folder = _folder(data_dir)
    splits = _ClampedSplits(task, folder, warn)
    try:
        return (source_class or seqio.TfdsDataSource)(task.source.location, folder, splits)
    except ValueError as error:
        raise UserError(f"task '{task.name}': {brief(error)}") from error


def _folder(data_dir: str | Path | None) -> str | None:
    return None if data_dir is None else str(Path(data_dir).expanduser())


class _ClampedSplits(dict[str, str]):
    """Canonical splits and their expressions; looked up, a slice is clamped to the data."""

    def __init__(self, task: TaskSpec, data_dir: str | None, warn: Warn) -> None:
        super().__init__({split: text for split, text in task.splits.items() if text})
        self._task = task
        self._data_dir = data_dir
        self._warn = warn
        self._clamped: dict[str, str] = {}

    def __getitem__(self, split: str) -> str:
        if split not in self._clamped:
            expression = super().__getitem__(split)
            clamped = clamped_expression(expression, self._rows, self._warn)
            if not clamped:
                location = self._task.source.location
                raise UserError(
                    f"task '{self._task.name}': split {split} ({expression} of tfds {location}) "
                    "is empty; correct its split expression"
                )
            self._clamped[split] = clamped
        return self._clamped[split]

    def _rows(self, name: str) -> int | None:
        if name == "all":
            return None
        if name not in self._counts:
            near = nearest(name, self._counts) or f": it has {', '.join(sorted(self._counts))}"
            location = self._task.source.location
            raise UserError(f"task '{self._task.name}': {location} has no split '{name}'{near}")
        return self._counts[name]

    @functools.cached_property
    def _counts(self) -> dict[str, int]:
        """Rows of each split of the dataset."""
        owner = f"task '{self._task.name}'"
        splits = found(self._task.source.location, self._data_dir, owner).info.splits
        return {split: info.num_examples for split, info in splits.items()}


register_source("tfds", TfdsSource())
