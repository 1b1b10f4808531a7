"""Raw records of a task, from wherever they are, and the canonical records they become.

    for record in canonical_records(task, "train", data_dir="data"):
        record                     -> Record("train-0", {"premise": ...}, ("yes",), ("yes", "no"))

How a source is read is its reader's business (`api`), and what a split's expression means too: a
file with an optional slice (`train.jsonl[:-200]`), a TFDS split, the argument of a Python function.
A slice that is longer than the data is clamped with a warning. A record that does not fit its card,
or a dataset without records, is an error that names the task, the split, the record and a hint;
nothing is skipped. Records are numbered as they come, so that the same source gives the same ids.
"""

import heapq
from collections.abc import Iterator, Mapping
from pathlib import Path

from flanmix import console
from flanmix.data.canonical import RecordError, canonicalize
from flanmix.data.randomness import fold
from flanmix.data.sources.api import Located, source_of
from flanmix.data.sources.code import with_mapping
from flanmix.data.sources.slices import Warn
from flanmix.errors import UserError
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

_DRAWN_FROM = 1_000_000  # rows that a few records are drawn from: a huge source is not read whole


def canonical_records(
    task: TaskSpec,
    split: str,
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    warn: Warn = console.warn,
) -> Iterator[Record]:
    """Yields a split's canonical records, `<split>-0`, `<split>-1` and so on.

    Args:
        task: the task.
        split: `train`, `validation` or `test`.
        data_dir: where TFDS finds its datasets, and files that are not beside the card are.
        limit: stop after so many records, the first ones.
        warn: callback for each slice that was clamped, a line.

    Raises:
        UserError: when the source is missing or broken, a record does not fit, or there is none.
    """
    number = -1
    made = 0
    for number, row in enumerate(raw_records(task, split, data_dir=data_dir, warn=warn)):
        for record in _made(task, f"{split}-{number}", row):
            yield record
            made += 1
            if made == limit:
                return
    if not made:
        raise _empty(task, split, number + 1)


def drawn_records(
    task: TaskSpec,
    split: str,
    limit: int | None,
    *,
    data_dir: str | Path | None = None,
    warn: Warn = console.warn,
) -> list[Record] | Iterator[Record]:
    """As `canonical_records`, but of more than `limit` records those that the task's name draws.

    The source is read to its end, or to its millionth row, which is said; `limit` records are held.
    What is drawn has the ids and the order that it has among all.
    """
    if limit is None:
        return canonical_records(task, split, data_dir=data_dir, warn=warn)
    drawn: list[tuple[int, int, int, Record]] = []  # a heap: the largest draw first
    number = -1
    for number, row in enumerate(raw_records(task, split, data_dir=data_dir, warn=warn)):
        if number == _DRAWN_FROM:
            warn(f"task '{task.name}': {split} is drawn from its first {_DRAWN_FROM:,} rows")
            break
        place = -fold(0, "limit", task.name, split, number)
        if len(drawn) == limit and place < drawn[0][0]:
            continue
        for part, record in enumerate(_made(task, f"{split}-{number}", row)):
            push = heapq.heappush if len(drawn) < limit else heapq.heappushpop
            push(drawn, (place, -number, -part, record))
    if not drawn:
        raise _empty(task, split, number + 1)
    return [record for *_, record in sorted(drawn, key=lambda entry: (-entry[1], -entry[2]))]


def _made(task: TaskSpec, record_id: str, row: Located) -> list[Record]:
    """What one row of the source becomes."""
    where, raw = row
    if not isinstance(raw, Mapping) or not raw:
        what = "is empty" if not raw else f"is a {type(raw).__name__}, not a mapping"
        raise UserError(f"task '{task.name}', record {record_id} {what} ({where})")
    try:
        return canonicalize(task, raw, record_id)
    except RecordError as error:
        raise UserError(f"{error} ({where}); correct the record or the card") from None


def _empty(task: TaskSpec, split: str, rows: int) -> UserError:
    what = f"all {rows} records were dropped by {task.mapping}" if rows else ""
    return UserError(
        f"task '{task.name}': split {split} ({task.splits[split]} of {_name(task)}) is empty; "
        f"{what or 'correct its split expression or its data'}"
    )


def raw_records(
    task: TaskSpec,
    split: str,
    *,
    data_dir: str | Path | None = None,
    warn: Warn = console.warn,
) -> Iterator[Located]:
    """Yields (where, raw record) of a split, in the source's order; arguments as above.

    Raises:
        UserError: when the task has no such split, or its source is missing or broken.
    """
    expression = task.splits.get(split)
    if not expression:
        known = ", ".join(name for name, value in task.splits.items() if value)
        raise UserError(f"task '{task.name}' has no split '{split}': {known}")

    def say(message: str) -> None:
        warn(f"task '{task.name}': {message}")

    reader = source_of(task)
    try:
        yield from reader.rows(task, split, expression, data_dir=data_dir, warn=say)
    except ValueError as error:
        raise UserError(f"task '{task.name}': {error}") from error


def source_files(task: TaskSpec, data_dir: str | Path | None = None) -> dict[str, Path]:
    """The files that decide a task's canonical records, by name, as far as they are known.

    Those of its source, and the Python files that its mapping runs.

    Raises:
        UserError: the kind of source is unknown.
    """
    try:
        found = dict(source_of(task).files(task, data_dir))
    except ValueError as error:
        raise UserError(f"task '{task.name}': {error}") from error
    return with_mapping(task, found)


def _name(task: TaskSpec) -> str:
    """The source as a message names it."""
    path = (task.folder or Path()) / task.source.location
    return str(path) if path.exists() else f"{task.source.kind} {task.source.location}"
