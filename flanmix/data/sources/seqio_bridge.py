"""The bridge to SeqIO and TFDS, towards us: raw records of TFDS datasets and of SeqIO tasks.

    source: {tfds: "super_glue/rte:1.0.2"}       the dataset's examples, through TfdsDataSource
    source: {seqio: "my.tasks:my_task"}          what a task makes: {"inputs": .., "targets": ..}
    source: {seqio: "my.tasks:my_task@source"}   the raw examples of the task's source

`my.tasks` is imported first, from the working directory, the card's folder or what is installed;
without it the task must have been registered already. A task's features are texts here: the
pretokenized text where there is one, else its ids, decoded. So a card that takes `inputs` and
`targets` as they are, with the template "{inputs}", trains a foreign task.

The other direction, our tasks in SeqIO's registries, is `seqio_bridge_tasks.py`. These two files
alone import TensorFlow, which takes ten seconds and a gigabyte, and only once they are used.
"""

import contextlib
import functools
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flanmix.data.sources.slices import Warn, clamped_expression, sliced
from flanmix.errors import UserError, nearest
from flanmix.registry.task import TaskSpec

if TYPE_CHECKING:
    import seqio

_SOURCE = "@source"


def import_seqio() -> ModuleType:
    """Imports SeqIO, with TensorFlow quiet and off the accelerators; returns the module."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with contextlib.nullcontext() if "tensorflow" in sys.modules else _quiet():
            import seqio
            import tensorflow as tf
            import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"TFDS and SeqIO sources need packages that can't be imported ({error}): "
            "pip install seqio tensorflow tensorflow-datasets"
        ) from error
    import absl.logging

    absl.logging.set_verbosity(absl.logging.ERROR)
    # What it retries a few times and then gives up is told once, as the reason for a failed task.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    # The accelerators are JAX's; TensorFlow would take all of their memory.
    for kind in ("GPU", "TPU"):
        try:
            tf.config.set_visible_devices([], kind)
        except (RuntimeError, ValueError):  # The program has used TensorFlow before us.
            break
    return seqio


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps native code off stderr: TensorFlow greets there before it reads its log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def located_rows(
    spec: TaskSpec, split: str, expression: str, data_dir: str | Path | None, warn: Warn
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (where, raw record) of a split of a TFDS dataset or a SeqIO task, in a fixed order.

    Args:
        spec: the task.
        split: the canonical split.
        expression: what the split is in the source.
        data_dir: where TFDS finds its datasets.
        warn: is told of a slice that was clamped, in one line.

    Raises:
        UserError: when the dataset or the SeqIO task is unknown or can't be read.
    """
    name = f"{spec.source.location} {expression}"
    try:
        if spec.source.kind == "tfds":
            rows = _plain_rows(tfds_source(spec, data_dir, warn), split)
        else:
            task, raw = foreign_task(spec)
            rows = sliced(lambda name: _foreign_rows(task, raw, name), expression, warn)
        for number, row in enumerate(rows):
            yield f"row {number} of {name}", row
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Every builder and preprocessor fails in its own way.
        raise UserError(f"task '{spec.name}': {name} can't be read: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"


def plain(value: Any) -> Any:
    """A NumPy example as plain values: ragged arrays as lists, the rest as it is."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value.to_list() if hasattr(value, "to_list") else value


def _plain_rows(source: "seqio.DataSource", split: str) -> Iterator[Mapping[str, Any]]:
    for example in source.get_dataset(split, shuffle=False).as_numpy_iterator():
        yield plain(example)


# TFDS


def tfds_source(
    spec: TaskSpec,
    data_dir: str | Path | None,
    warn: Warn,
    source_class: "type[seqio.TfdsDataSource] | None" = None,
) -> "seqio.TfdsDataSource":
    """The task's TFDS dataset as a SeqIO source, its slices clamped to the rows that there are.

    Nothing is opened before a split is read. A dataset that has not been prepared is downloaded
    then, where TFDS can.

    Args:
        spec: the task.
        data_dir: where TFDS finds its datasets.
        warn: is told of a slice that was clamped, in one line.
        source_class: made instead of TfdsDataSource itself.

    Raises:
        UserError: when the name is none of TFDS's; when a split is read, also for a dataset that is
            not there or has no such split.
    """
    seqio = import_seqio()
    folder = None if data_dir is None else str(Path(data_dir).expanduser())
    splits = _ClampedSplits(spec, folder, warn)
    try:
        return (source_class or seqio.TfdsDataSource)(spec.source.location, folder, splits)
    except ValueError as error:
        raise UserError(f"task '{spec.name}': {_brief(error)}") from error


class _ClampedSplits(dict[str, str]):
    """Canonical splits and their expressions; looked up, a slice is clamped to the data."""

    def __init__(self, spec: TaskSpec, data_dir: str | None, warn: Warn) -> None:
        super().__init__({split: text for split, text in spec.splits.items() if text})
        self._spec = spec
        self._data_dir = data_dir
        self._warn = warn
        self._clamped: dict[str, str] = {}

    def __getitem__(self, split: str) -> str:
        if split not in self._clamped:
            expression = super().__getitem__(split)
            clamped = clamped_expression(expression, self._rows, self._warn)
            if not clamped:
                location = self._spec.source.location
                raise UserError(
                    f"task '{self._spec.name}': split {split} ({expression} of tfds {location}) "
                    "is empty; mend its split expression"
                )
            self._clamped[split] = clamped
        return self._clamped[split]

    def _rows(self, name: str) -> int | None:
        if name == "all":
            return None
        if name not in self._counts:
            near = nearest(name, self._counts) or f": it has {', '.join(sorted(self._counts))}"
            location = self._spec.source.location
            raise UserError(f"task '{self._spec.name}': {location} has no split '{name}'{near}")
        return self._counts[name]

    @functools.cached_property
    def _counts(self) -> dict[str, int]:
        """Rows of each split of the dataset, which is made ready first."""
        import tensorflow_datasets as tfds

        name, by_hand = self._spec.source.location, None
        try:
            builder = tfds.builder(name, data_dir=self._data_dir)
            if not builder.info.splits:
                by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
                # TFDS tells of it on stdout, which is for the verb's own document.
                with contextlib.redirect_stdout(sys.stderr):
                    builder.download_and_prepare()
            return {split: info.num_examples for split, info in builder.info.splits.items()}
        except Exception as error:
            where = self._data_dir or tfds.core.constants.DATA_DIR
            reason = f"can't be made: {_brief(error)}"
            way_out = "give its folder with --data_dir"
            if by_hand and "Manual directory" in str(
                error
            ):  # some of WMT's files want it, some do not
                reason = "its files have to be fetched by hand"
                way_out = f"put them into {where}/downloads/manual: {' '.join(by_hand.split())}"
            raise UserError(
                f"task '{self._spec.name}': TFDS dataset {name} is not in {where}, and {reason}; "
                f"{way_out}"
            ) from error


# Foreign SeqIO tasks


def foreign_task(spec: TaskSpec) -> "tuple[seqio.Task, bool]":
    """Finds the SeqIO task that a card names; True means that its source's examples are wanted.

    Raises:
        UserError: when its module can't be imported or there is no such task.
    """
    seqio = import_seqio()
    location = spec.source.location
    raw = location.endswith(_SOURCE)
    module, _, name = location.removesuffix(_SOURCE).rpartition(":")
    if module:
        _import_module(spec, module)
    if name in seqio.MixtureRegistry.names():
        members = ", ".join(task.name for task in seqio.MixtureRegistry.get(name).tasks)
        raise UserError(
            f"task '{spec.name}': '{name}' is a SeqIO mixture; make a card for each of its tasks "
            f"({members}) and mix those"
        )
    if name not in seqio.TaskRegistry.names():
        near = nearest(name, seqio.TaskRegistry.names())
        hint = "" if module else "; name the module that registers it: my.module:task"
        raise UserError(f"task '{spec.name}': SeqIO has no task '{name}'{near}{hint}")
    return seqio.TaskRegistry.get(name), raw


def _import_module(spec: TaskSpec, module: str) -> None:
    before = list(sys.path)
    sys.path[:0] = [str(Path.cwd()), *([str(spec.folder)] if spec.folder else [])]
    try:
        importlib.import_module(module)
    except Exception as error:
        raise UserError(
            f"task '{spec.name}': module {module} fails to import: {error!r}"
        ) from error
    finally:
        sys.path[:] = before


def _foreign_rows(task: "seqio.Task", raw: bool, split: str) -> Iterator[Mapping[str, Any]]:
    if split not in task.splits:
        known = ", ".join(task.splits)
        raise UserError(f"SeqIO task '{task.name}' has no split '{split}': {known}")
    if raw:
        yield from _plain_rows(task.source, split)
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
