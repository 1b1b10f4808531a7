r"""Rows of JSONL, TSV and CSV files, each with the number of its line.

    train.jsonl   {"text": "Oh.", "label": 1} -> (1, {"text": "Oh.", "label": 1})
    train.csv     text,label                  header, unless the card names the columns
                  "Lovely, so.",1             -> (2, {"text": "Lovely, so.", "label": "1"})

JSONL holds one object a line. CSV is read with Python's csv module. TSV is plain: a tab ends a
field, a line break ends a row, quotes are text. Files are UTF-8; blank lines hold no record.
Whatever else does not fit is one line that names the file and the line.

A card's `source: {jsonl: folder}` is looked up beside the card and then in `data_dir`; a split
expression is a file's name with an optional slice. TSV and CSV take `columns`, a list of names, for
files without a header line.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from flanmix.data.sources.api import Located, register_source
from flanmix.data.sources.slices import Warn, parse_split, sliced
from flanmix.errors import UserError
from flanmix.registry.task import TaskSpec

Row = tuple[int, dict[str, Any]]


def file_rows(path: Path, kind: str, columns: Sequence[str] = ()) -> Iterator[Row]:
    """Yields (line number, raw record) of a file.

    Args:
        path: the file.
        kind: `jsonl`, `tsv` or `csv`.
        columns: names of the columns; if there are none, the first row names them.

    Raises:
        UserError: if the file can't be read or a line does not fit.
    """
    try:
        # Only "\n" ends a line: other line breaks are text inside a record.
        with path.open(encoding="utf-8-sig", newline="" if kind == "csv" else "\n") as file:
            if kind == "jsonl":
                yield from _jsonl(file, path)
            else:
                yield from _table(file, path, kind, list(columns))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): convert it") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None


def _jsonl(file: TextIO, path: Path) -> Iterator[Row]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} line {line}: not JSON: {error}") from None
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise UserError(f"{path} line {line}: a {kind}, where one object a line is needed")
        yield line, row


def _table(file: TextIO, path: Path, kind: str, columns: list[str]) -> Iterator[Row]:
    for line, cells in (_csv if kind == "csv" else _tsv)(file, path):
        if not columns:
            columns = cells
            if len(set(columns)) < len(columns):
                raise UserError(
                    f"{path} line {line}: the header has a name twice; name the columns in the card"
                )
            continue
        if len(cells) != len(columns):
            raise UserError(
                f"{path} line {line}: {len(cells)} fields, but {len(columns)} columns "
                f"({', '.join(columns)})"
            )
        yield line, dict(zip(columns, cells, strict=True))


def _tsv(file: TextIO, _: Path) -> Iterator[tuple[int, list[str]]]:
    for line, text in enumerate(file, start=1):
        if text.strip("\r\n"):
            yield line, text.removesuffix("\n").removesuffix("\r").split("\t")


def _csv(file: TextIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(file, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: not CSV: {error}") from None


class FileSource:
    """Files of one kind, beside the card or in `data_dir`.

    Args:
        kind: `jsonl`, `tsv` or `csv`.

    Settings:
        columns: names of the columns, for files without a header line; TSV and CSV.
    """

    cheap = True
    own_splits = True

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.settings = () if kind == "jsonl" else ("columns",)

    def files(self, task: TaskSpec, data_dir: str | Path | None) -> dict[str, Path]:
        """The files that the card's splits name and that are there."""
        found = {}
        for expression in filter(None, task.splits.values()):
            for part in parse_split(expression):
                if (path := _find(task, part.name, data_dir)) is not None:
                    found[part.name] = path
        return found

    def rows(
        self,
        task: TaskSpec,
        split: str,
        expression: str,
        *,
        data_dir: str | Path | None,
        warn: Warn,
    ) -> Iterator[Located]:
        """Yields the rows of the files that `expression` names, sliced."""
        return sliced(lambda name: self._located(task, name, data_dir), expression, warn)

    def _located(self, task: TaskSpec, name: str, data_dir: str | Path | None) -> Iterator[Located]:
        path = _find(task, name, data_dir)
        if path is None:
            folders = [
                str(Path(folder) / task.source.location)
                for folder in (task.folder, data_dir)
                if folder
            ]
            hint = "" if data_dir else "; put it there or give --data_dir"
            raise UserError(
                f"task '{task.name}': file {name} is missing from {' and '.join(folders)}{hint}"
            )
        for line, row in file_rows(path, self._kind, _columns(task)):
            yield f"{path} line {line}", row


def _find(task: TaskSpec, name: str, data_dir: str | Path | None) -> Path | None:
    for folder in (task.folder, data_dir):
        if folder is not None:
            path = Path(folder) / task.source.location / name
            if path.is_file():
                return path
    return None


def _columns(task: TaskSpec) -> Sequence[str]:
    columns = task.source.settings.get("columns", ())
    if not isinstance(columns, list | tuple) or not all(isinstance(c, str) for c in columns):
        raise UserError(
            f"task '{task.name}': columns is {columns!r}: it must be a list of texts; quote yes, "
            "no and numbers"
        )
    return columns


register_source("jsonl", FileSource("jsonl"))
register_source("tsv", FileSource("tsv"))
register_source("csv", FileSource("csv"))
