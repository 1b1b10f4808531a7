"""Split expressions: a name with an optional slice, clamped to the rows that there are.

    train                  all rows of train
    train[:-200]           all but the last 200
    train[80%:]            the last fifth (bounds are rounded to whole rows)
    train.jsonl[100:300]   rows 100 to 299 of a file

This is TFDS's notation; its `a+b` joins two parts. A bound beyond the data is clamped, and the
caller's `warn` hears about it in one line: TFDS 4.9.10 refuses such a slice instead, so what it is
given is clamped first (`clamped_expression`).
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Row = TypeVar("Row")
Warn = Callable[[str], None]

_PART = re.compile(r"(?P<name>[^\[\]]+?)\s*(?:\[(?P<start>[^:\]]*):(?P<stop>[^:\]]*)\])?\s*\Z")
_BOUND = re.compile(r"(?P<number>[+-]?[0-9_]+)(?P<percent>%)?\Z")


@dataclass(frozen=True)
class Bound:
    """One end of a slice: a number of rows, or of percents."""

    number: int
    percent: bool = False

    def rows(self, count: int) -> int:
        """The bound as a row number of a dataset with `count` rows; may lie outside of it."""
        rows = round(count * self.number / 100) if self.percent else self.number
        return rows + count if self.number < 0 else rows


@dataclass(frozen=True)
class Part:
    """`name[start:stop]`; a missing bound is None."""

    name: str
    start: Bound | None = None
    stop: Bound | None = None

    def __str__(self) -> str:
        if self.start is None and self.stop is None:
            return self.name
        return f"{self.name}[{_show(self.start)}:{_show(self.stop)}]"

    @property
    def needs_count(self) -> bool:
        """Whether the rows must be counted before the slice is known."""
        bounds = [bound for bound in (self.start, self.stop) if bound is not None]
        return any(bound.percent or bound.number < 0 for bound in bounds)

    def range(self, count: int, warn: Warn) -> tuple[int, int]:
        """The slice's first row and the row after its last; warns where a bound was clamped."""
        wanted_start = 0 if self.start is None else self.start.rows(count)
        wanted_stop = count if self.stop is None else self.stop.rows(count)
        start, stop = (min(max(row, 0), count) for row in (wanted_start, wanted_stop))
        if (start, stop) != (wanted_start, wanted_stop):
            warn(
                f"split {self} asks for more than the {count} rows of {self.name}: clamped to "
                f"{self.name}[{start}:{stop}]"
            )
        return start, max(start, stop)


def _show(bound: Bound | None) -> str:
    return "" if bound is None else f"{bound.number}{'%' if bound.percent else ''}"


def _bound(text: str, expression: str) -> Bound | None:
    if not text.strip():
        return None
    match = _BOUND.match(text.strip())
    if match is None:
        raise ValueError(f"split '{expression}' has the bound '{text}': a whole number, or percent")
    return Bound(int(match["number"]), match["percent"] is not None)


def parse_split(expression: str) -> tuple[Part, ...]:
    """Parses a split expression into its parts, usually one.

    Raises:
        ValueError: for anything but `name`, `name[start:stop]` and sums of these.
    """
    parts = []
    for text in expression.split("+") if not _is_file(expression) else [expression]:
        match = _PART.match(text.strip())
        if match is None:
            raise ValueError(f"split '{expression}' is malformed: write name or name[start:stop]")
        start, stop = (_bound(match[side] or "", expression) for side in ("start", "stop"))
        parts.append(Part(match["name"].strip(), start, stop))
    return tuple(parts)


def _is_file(expression: str) -> bool:
    """A file's name may hold a plus sign, a TFDS split's may not."""
    return "." in expression.split("[")[0]


def clamped_expression(expression: str, count: Callable[[str], int | None], warn: Warn) -> str:
    """The same rows, written so that no bound lies beyond the data; empty if there are none.

    Args:
        expression: a split expression; one that is not understood here (TFDS has more forms, such
            as shards) comes back as it is.
        count: rows of a split by its name, or None if unknown.
        warn: callback for each slice that was clamped, a line.
    """
    try:
        parts = parse_split(expression)
    except ValueError:
        return expression
    texts = []
    for part in parts:
        rows = count(part.name)
        if rows is None or (part.start is None and part.stop is None):
            texts.append(str(part))
        else:
            start, stop = part.range(rows, warn)
            if start < stop:
                texts.append(f"{part.name}[{start}:{stop}]")
    return "+".join(texts)


def sliced(rows: Callable[[str], Iterable[Row]], expression: str, warn: Warn) -> Iterator[Row]:
    """Yields the rows that `expression` asks for.

    Args:
        rows: makes a fresh iterable of all rows of a name; called a second time to count them
            where a bound counts from the end.
        expression: the split expression.
        warn: callback for each slice that was clamped, a line.

    Raises:
        ValueError: for a malformed expression.
    """
    for part in parse_split(expression):
        if part.start is None and part.stop is None:
            yield from rows(part.name)
        elif part.needs_count:
            start, stop = part.range(sum(1 for _ in rows(part.name)), warn)
            yield from itertools.islice(rows(part.name), start, stop)
        else:
            yield from _from_the_front(rows(part.name), part, warn)


def _from_the_front(rows: Iterable[Row], part: Part, warn: Warn) -> Iterator[Row]:
    """A slice with bounds counted from the front: one pass, clamping known at the end."""
    start = 0 if part.start is None else part.start.number
    stop = None if part.stop is None else part.stop.number
    if stop is not None and stop <= start:
        return
    number = 0
    for number, row in enumerate(rows, start=1):
        if number > start:
            yield row
        if number == stop:
            return
    part.range(number, warn)
