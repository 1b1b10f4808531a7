r"""Rows of JSONL, TSV and CSV files, each with the number of its line.

    train.jsonl   {"text": "Oh.", "label": 1} -> (1, {"text": "Oh.", "label": 1})
    train.csv     text,label                  header, unless the card names the columns
                  "Lovely, so.",1             -> (2, {"text": "Lovely, so.", "label": "1"})

JSONL holds one object a line, each key once. CSV is read with Python's csv module. TSV is plain: a
tab ends a field, a line break ends a row, quotes are text. Files are UTF-8; blank lines hold no
record. Whatever else does not fit is one line that names the file and the line.

A card's `source: {jsonl: folder}` is looked up beside the card and then in `data_dir`; a split
expression is a file's name with an optional slice. TSV and CSV take `columns`, a list of names, for
files without a header line. TSV takes `quoted: true` for a spreadsheet's, where a field may stand
in quotes, and `quoted: false` where what looks like that is text.
"""

import csv
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from flanmix import console
from flanmix.data.answers import number_of
from flanmix.data.sources.api import Located, register_source
from flanmix.data.sources.slices import Warn, parse_split, sliced
from flanmix.errors import UserError, nearest
from flanmix.registry.task import TaskSpec

Row = tuple[int, dict[str, Any]]


# What the first bytes say that a file is, where it is no text, and what to do.
_OTHERS = {
    b"\x1f\x8b": ("compressed with gzip", "unpack it: gunzip"),
    b"BZh": ("compressed with bzip2", "unpack it: bunzip2"),
    b"\xfd7zXZ\x00": ("compressed with xz", "unpack it: unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it: unzstd"),
    b"PK\x03\x04": ("a ZIP archive or a spreadsheet", "unpack it, or export CSV:"),
    b"PAR1": ("Parquet", "write it as JSONL:"),
    b"\xff\xfe": ("UTF-16, not UTF-8", "save it as UTF-8:"),
    b"\xfe\xff": ("UTF-16, not UTF-8", "save it as UTF-8:"),
}
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def file_rows(
    path: Path,
    kind: str,
    columns: Sequence[str] = (),
    *,
    needed: Collection[str] = (),
    quoted: bool | None = None,
    warn: Warn = console.warn,
) -> Iterator[Row]:
    """Yields (line number, raw record) of a file.

    Args:
        path: the file.
        kind: `jsonl`, `tsv` or `csv`.
        columns: names of the columns; if there are none, the first row names them.
        needed: names that a table's columns must have, as far as they are known.
        quoted: whether a TSV's fields may stand in quotes; None where the card does not say.
        warn: callback for a header that looks like a record, a line.

    Raises:
        UserError: if the file can't be read or a line does not fit.
    """
    try:
        _check_is_text(path)
        # Only "\n" ends a line: other line breaks are text inside a record.
        newline = "" if kind == "csv" or quoted else "\n"
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            if kind == "jsonl":
                yield from _jsonl(file, path)
            elif kind == "csv" or quoted:
                cells = _csv(file, path, "," if kind == "csv" else "\t")
                yield from _table(cells, path, list(columns), needed, warn)
            else:
                cells = _tsv(file, path, plain=quoted is False)
                yield from _table(cells, path, list(columns), needed, warn)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): convert it") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None


def _jsonl(file: TextIO, path: Path) -> Iterator[Row]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text, object_pairs_hook=_once)
        except _Twice as error:
            raise UserError(f"{path} line {line}: key {error} is given twice; keep one") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} line {line}: not JSON: {error}") from None
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise UserError(f"{path} line {line}: a {kind}, where one object a line is needed")
        yield line, row


class _Twice(Exception):
    """A key that a JSON object has twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(repr(next(name for name in names if names.count(name) > 1)[:80]))
    return row


def _check_is_text(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(8)
    for magic, (what, hint) in _OTHERS.items():
        if start.startswith(magic):
            raise UserError(f"{path} is {what}, and a text file is needed; {hint} {path.name}")


def _table(
    rows: Iterable[tuple[int, list[str]]],
    path: Path,
    columns: list[str],
    needed: Collection[str],
    warn: Warn,
) -> Iterator[Row]:
    if columns and (lacking := sorted(set(needed) - set(columns))):
        raise UserError(f"{path}: '{lacking[0]}' is not among the card's columns {columns}")
    for line, cells in rows:
        if not columns:
            columns = cells
            _check_header(columns, f"{path} line {line}", needed, warn)
            continue
        if len(cells) != len(columns):
            raise UserError(
                f"{path} line {line}: {len(cells)} fields, but {len(columns)} columns "
                f"({', '.join(columns)})"
            )
        yield line, dict(zip(columns, cells, strict=True))


def _check_header(header: list[str], at: str, needed: Collection[str], warn: Warn) -> None:
    """Whether a file's first row names its columns, or is a record already."""
    if len(set(header)) < len(header):
        raise UserError(f"{at}: the header has a name twice; name the columns in the card")
    shown = ", ".join(cell[:40] for cell in header)[:200]
    if lacking := sorted(set(needed) - set(header)):
        raise UserError(
            f"{at}: '{lacking[0]}' is missing from the header ({shown})"
            f"{nearest(lacking[0], header)}; if this line is a record already, name the columns "
            "in the card: columns: [...]"
        )
    if not needed and any(not cell.strip() or number_of(cell) is not None for cell in header):
        warn(
            f"{at}: the header ({shown}) looks like a record; if it is one, name the columns in "
            "the card: columns: [...]"
        )


def _tsv(file: TextIO, path: Path, plain: bool) -> Iterator[tuple[int, list[str]]]:
    for line, text in enumerate(file, start=1):
        if text.strip("\r\n"):
            cells = text.removesuffix("\n").removesuffix("\r").split("\t")
            if '""' in text and not plain and any(map(_is_quoted, cells)):
                raise UserError(
                    f"{path} line {line}: a field stands in quotes and has doubled ones, as a "
                    "spreadsheet writes it; add quoted: true to the card's source, or quoted: "
                    "false if that is its text"
                )
            yield line, cells


def _is_quoted(cell: str) -> bool:
    """Whether a spreadsheet would have written the cell so: in quotes, doubled within."""
    inner = cell[1:-1]
    enclosed = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return enclosed and '""' in inner and '"' not in inner.replace('""', "")


def _csv(file: TextIO, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(file, strict=True, delimiter=delimiter)
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
        quoted: whether fields may stand in quotes, as a spreadsheet writes them; TSV.
    """

    cheap = True
    own_splits = True

    def __init__(self, kind: str) -> None:
        self._kind = kind
        table = ("columns", "quoted") if kind == "tsv" else ("columns",)
        self.settings = () if kind == "jsonl" else table

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
        return sliced(lambda name: self._located(task, name, data_dir, warn), expression, warn)

    def _located(
        self, task: TaskSpec, name: str, data_dir: str | Path | None, warn: Warn
    ) -> Iterator[Located]:
        path = _find(task, name, data_dir)
        if path is None:
            raise UserError(_missing(task, name, data_dir))
        rows = file_rows(
            path,
            self._kind,
            _columns(task),
            needed=_needed(task),
            quoted=_quoted(task),
            warn=warn,
        )
        for line, row in rows:
            yield f"{path} line {line}", row


def _find(task: TaskSpec, name: str, data_dir: str | Path | None) -> Path | None:
    for folder in (task.folder, data_dir):
        if folder is not None:
            path = Path(folder) / task.source.location / name
            if path.is_file():
                return path
    return None


def _missing(task: TaskSpec, name: str, data_dir: str | Path | None) -> str:
    """Where a file was looked for, and what may be done."""
    folders = [
        str(Path(folder) / task.source.location) for folder in (task.folder, data_dir) if folder
    ]
    packed = [suffix for suffix in _PACKED if _find(task, name + suffix, data_dir) is not None]
    if packed:
        hint = f"; {name}{packed[0]} is there: unpack it"
    else:
        hint = "" if data_dir else "; put it there or give --data_dir"
    return f"task '{task.name}': file {name} is missing from {' and '.join(folders)}{hint}"


def _needed(task: TaskSpec) -> set[str]:
    """The columns that the card can't do without; none are known where a function reads the row.

    Where the card names the columns itself, optional fields have to be among them too.
    """
    if task.mapping is not None:
        return set()
    optional = () if _columns(task) else task.optional
    paths = [path for name, path in task.fields.items() if name not in optional]
    paths += [task.answer, *task.metadata.values(), task.weight or "", task.messages or ""]
    choices = task.option_fields or ()
    paths += [choices] if isinstance(choices, str) else choices
    return set(filter(None, paths))


def _quoted(task: TaskSpec) -> bool | None:
    quoted = task.source.settings.get("quoted")
    if quoted is not None and not isinstance(quoted, bool):
        raise UserError(f"task '{task.name}': quoted is {quoted!r}: it must be true or false")
    return quoted


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
