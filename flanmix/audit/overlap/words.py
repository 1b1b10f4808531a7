"""Texts as numbers of words, for comparing millions of records: normalised, one number a word.

    words("It's RAINING, in Graz!")              -> ["it", "s", "raining", "in", "graz"]
    vocabulary = new_vocabulary()                -> will number each new word from 1
    number([Record("test-0", {"premise": "It rains.", "hypothesis": "It is wet."}, ("yes",))],
           growing_ids(vocabulary))
    -> numbers_W = [1 2 0 1 3 4 0], starts_R = [0 7], fields_R = [2], ids = ["test-0"]

A word is a run of Unicode letters and digits of the casefolded text; everything else parts words
and is dropped. So "3 - 4" equals "3 + 4", and a script that writes no spaces has one word a clause.
A 0 ends each field, and stands for a word that the vocabulary lacks: whatever a run of numbers
without a 0 is, its words are known and of one field. Options and answers are no fields, and a field
without a word is left out.

Legend: W words and zeros, R records.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flanmix.registry.record import Record

_WORD = re.compile(r"[^\W_]+")
# For ASCII, the same three times as fast.
_PARTED = {code: " " for code in range(128) if not chr(code).isalnum()}


def words(text: str) -> list[str]:
    """Returns the words of a text, casefolded, in order."""
    folded = text.casefold()
    return folded.translate(_PARTED).split() if folded.isascii() else _WORD.findall(folded)


Numbering = Callable[[Iterable[str]], Iterable[int]]


def new_vocabulary() -> defaultdict[str, int]:
    """Returns a vocabulary that numbers each new word from 1, in order; "" is 0."""
    return defaultdict(itertools.count(1).__next__, {"": 0})


def growing_ids(vocabulary: defaultdict[str, int]) -> Numbering:
    """Numbers words by a vocabulary, into which it takes the new ones."""
    return lambda found: map(vocabulary.__getitem__, found)


def frozen_ids(vocabulary: Mapping[str, int]) -> Numbering:
    """Numbers words by a vocabulary as it is; a word that it lacks is 0."""
    return lambda found: map(vocabulary.get, found, itertools.repeat(0))


@dataclass(frozen=True)
class Numbered:
    """The texts of some records.

    Attributes:
        numbers_W: int32, the words' numbers, with a 0 after each field.
        starts_R: int64, where each record begins, and after the last where it ends.
        fields_R: int32, how many fields with a word each record has.
        ids: the records' names.
    """

    numbers_W: np.ndarray
    starts_R: np.ndarray
    fields_R: np.ndarray
    ids: Sequence[str]

    def record_of(self, offsets: np.ndarray) -> np.ndarray:
        """The record of each offset of `numbers_W`."""
        return np.searchsorted(self.starts_R, offsets, side="right") - 1

    def spans(self, record: int) -> list[tuple[int, int]]:
        """Where each field of a record begins and ends, its 0 left out."""
        start, end = int(self.starts_R[record]), int(self.starts_R[record + 1])
        ends = (start + np.flatnonzero(self.numbers_W[start:end] == 0)).tolist()
        return list(zip([start, *(offset + 1 for offset in ends[:-1])], ends, strict=True))

    def content(self, record: int) -> bytes:
        """The record's texts, whatever their names and their order: equal for duplicates alone."""
        fields = [self.numbers_W[start:end].tobytes() for start, end in self.spans(record)]
        return bytes(4).join(sorted(fields))

    def known(self) -> np.ndarray:
        """Numbers of the records that have words, all of them in the vocabulary."""
        zeros_W = np.concatenate([[0], np.cumsum(self.numbers_W == 0)])
        zeros_R = np.diff(zeros_W[self.starts_R])
        return np.flatnonzero((self.fields_R > 0) & (zeros_R == self.fields_R))


def number(records: Iterable[Record], numbering: Numbering) -> Numbered:
    """Numbers the words of records, as `growing_ids` or `frozen_ids` does."""
    found: list[str] = []
    starts, fields, ids = [0], [], []
    for record in records:
        count = 0
        for text in record.fields.values():
            if some := words(text):
                found += some
                found.append("")
                count += 1
        starts.append(len(found))
        fields.append(count)
        ids.append(record.id)
    return Numbered(
        np.fromiter(numbering(found), np.int32, len(found)),
        np.array(starts, np.int64),
        np.array(fields, np.int32),
        ids,
    )


def joined(parts: Sequence[Numbered]) -> Numbered:
    """Returns the records of several parts as one."""
    ends = np.cumsum([0, *(len(part.numbers_W) for part in parts)])
    starts = [part.starts_R[:-1] + end for part, end in zip(parts, ends, strict=False)]
    return Numbered(
        np.concatenate([np.empty(0, np.int32), *(part.numbers_W for part in parts)]),
        np.concatenate([*starts, ends[-1:]]),
        np.concatenate([np.empty(0, np.int32), *(part.fields_R for part in parts)]),
        [name for part in parts for name in part.ids],
    )


def chunks(records: Iterable[Record], characters: int) -> Iterator[list[Record]]:
    """Yields records in chunks of about so many characters: the last may pass the mark."""
    chunk, size = [], 0
    for record in records:
        chunk.append(record)
        size += sum(map(len, record.fields.values())) + len(record.id)
        if size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
