r"""Rows of JSONL, TSV and CSV files, each with the number of its line.

    train.jsonl   {"text": "Oh.", "label": 1} -> (1, {"text": "Oh.", "label": 1})
    train.csv     text,label                  header, unless the card names the columns
                  "Lovely, so.",1             -> (2, {"text": "Lovely, so.", "label": "1"})

JSONL holds one object a line. CSV is read with Python's csv module. TSV is plain: a tab ends a
field, a line break ends a row, quotes are text. Files are UTF-8; blank lines hold no record.
Whatever else does not fit is one line that names the file and the line.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from flanmix.errors import UserError

Row = tuple[int, dict[str, Any]]


def rows(path: Path, kind: str, columns: Sequence[str] = ()) -> Iterator[Row]:
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
