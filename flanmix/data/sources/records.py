"""Raw records of a task, from wherever they are, and the canonical records they become.

    for record in canonical_records(spec, "train", data_dir="data"):
        record                     -> Record("train-0", {"premise": ...}, ("yes",), ("yes", "no"))

A split's expression says where: a TFDS split (`train[:-200]`), a file with an optional slice
(`train.jsonl[:-200]`, looked up beside the card and then in `data_dir`), a SeqIO task's split, or
the argument of a Python generator. A slice that is longer than the data is clamped with a warning.
A record that does not fit its card, or a dataset without records, is an error that names the task,
the split, the record and the way out; nothing is skipped. Records are numbered as they come, so
that the same source gives the same ids.

Only the TFDS and SeqIO sources import TensorFlow, by way of `seqio_bridge`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flanmix import console
from flanmix.data.canonical import RecordError, canonicalize
from flanmix.data.sources import files
from flanmix.data.sources.slices import Warn, parse_split, sliced
from flanmix.errors import UserError
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import load_function

# Where a raw record is, in words for messages, and the record.
Located = tuple[str, Mapping[str, Any]]

_FILES = ("jsonl", "tsv", "csv")


def canonical_records(
    spec: TaskSpec,
    split: str,
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    warn: Warn = console.warn,
) -> Iterator[Record]:
    """Yields a split's canonical records, `<split>-0`, `<split>-1` and so on.

    Args:
        spec: the task.
        split: `train`, `validation` or `test`.
        data_dir: where TFDS finds its datasets, and files that are not beside the card are.
        limit: at most so many records.
        warn: is told of each slice that was clamped, in one line.

    Raises:
        UserError: when the source is missing or broken, a record does not fit, or there is none.
    """
    number = -1
    made = 0
    for number, (where, raw) in enumerate(raw_records(spec, split, data_dir=data_dir, warn=warn)):
        if not isinstance(raw, Mapping) or not raw:
            what = "is empty" if not raw else f"is a {type(raw).__name__}, not a mapping"
            raise UserError(f"task '{spec.name}', record {split}-{number} {what} ({where})")
        try:
            records = canonicalize(spec, raw, f"{split}-{number}")
        except RecordError as error:
            raise UserError(f"{error} ({where}); mend the record or the card") from None
        for record in records:
            yield record
            made += 1
            if made == limit:
                return
    if not made:
        what = f"all {number + 1} records were dropped by {spec.mapping}" if number >= 0 else ""
        raise UserError(
            f"task '{spec.name}': split {split} ({spec.splits[split]} of {_name(spec)}) is empty; "
            f"{what or 'mend its split expression or its data'}"
        )


def raw_records(
    spec: TaskSpec,
    split: str,
    *,
    data_dir: str | Path | None = None,
    warn: Warn = console.warn,
) -> Iterator[Located]:
    """Yields (where, raw record) of a split, in the source's order; arguments as above.

    Raises:
        UserError: when the task has no such split, or its source is missing or broken.
    """
    expression = spec.splits.get(split)
    if not expression:
        known = ", ".join(name for name, value in spec.splits.items() if value)
        raise UserError(f"task '{spec.name}' has no split '{split}': {known}")

    def say(message: str) -> None:
        warn(f"task '{spec.name}': {message}")

    try:
        if spec.source.kind in _FILES:
            yield from sliced(lambda name: _file_rows(spec, name, data_dir), expression, say)
        elif spec.source.kind == "python":
            yield from sliced(lambda name: _python_rows(spec, name), expression, say)
        else:
            yield from _seqio_rows(spec, split, expression, data_dir, say)
    except ValueError as error:
        raise UserError(f"task '{spec.name}': {error}") from error


def source_files(spec: TaskSpec, data_dir: str | Path | None = None) -> dict[str, Path]:
    """The files that decide a task's raw records, by name, as far as they are known.

    Data files; for TFDS the dataset's own description; and the Python files beside one that the
    card uses, since it may import its neighbours.
    """
    found: dict[str, Path] = {}
    if spec.source.kind in _FILES:
        for expression in filter(None, spec.splits.values()):
            for part in parse_split(expression):
                path = _find(spec, part.name, data_dir)
                if path is not None:
                    found[part.name] = path
    elif spec.source.kind == "tfds":
        name = spec.source.location
        default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        folder = Path(data_dir or default).expanduser() / name.replace(":", "/")
        found[name] = folder / "dataset_info.json"
    code = [spec.mapping, spec.source.location if spec.source.kind == "python" else None]
    for reference in filter(None, code):
        folder = (spec.folder or Path()) / Path(reference.partition(":")[0]).parent
        found |= {path.name: path for path in sorted(folder.glob("*.py"))}
    return found


def _name(spec: TaskSpec) -> str:
    """The source as a message names it."""
    if spec.source.kind in _FILES and spec.folder is not None:
        return str(spec.folder / spec.source.location)
    return f"{spec.source.kind} {spec.source.location}"


# Files


def _find(spec: TaskSpec, name: str, data_dir: str | Path | None) -> Path | None:
    for folder in (spec.folder, data_dir):
        if folder is not None:
            path = Path(folder) / spec.source.location / name
            if path.is_file():
                return path
    return None


def _file_rows(spec: TaskSpec, name: str, data_dir: str | Path | None) -> Iterator[Located]:
    path = _find(spec, name, data_dir)
    if path is None:
        places = [
            str(Path(folder) / spec.source.location) for folder in (spec.folder, data_dir) if folder
        ]
        hint = "" if data_dir else "; put it there or give --data_dir"
        raise UserError(
            f"task '{spec.name}': file {name} is missing from {' and '.join(places)}{hint}"
        )
    for line, row in files.rows(path, spec.source.kind, spec.source.columns):
        yield f"{path} line {line}", row


# Python functions


def _python_rows(spec: TaskSpec, name: str) -> Iterator[Located]:
    location = spec.source.location
    function = load_function(spec.folder, location, spec.name)
    called = f"{spec.folder}/{location}('{name}')"
    try:
        made = function(name)
        if not isinstance(made, Iterable):
            raise TypeError(f"returned a {type(made).__name__}, not an iterable of records")
        for number, row in enumerate(made):
            yield f"record {number} of {called}", row
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"task '{spec.name}': {called} fails: {error!r}") from error


# TFDS and SeqIO


def _seqio_rows(
    spec: TaskSpec, split: str, expression: str, data_dir: str | Path | None, warn: Warn
) -> Iterator[Located]:
    from flanmix.data.sources import seqio_bridge

    return seqio_bridge.located_rows(spec, split, expression, data_dir, warn)
