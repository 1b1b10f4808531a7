"""Texts as numbers of words, for comparing millions of records: normalised, one number a word.

    words("It's RAINING, in Graz!")              -> ["it", "s", "raining", "in", "graz"]
    words("\u96e8\u304c\u964d\u308b")          -> four words, one a character
    vocabulary = new_vocabulary()                -> will number each new word from 1
    number([Record("test-0", {"premise": "It rains.", "hypothesis": "It is wet."}, ("yes",),
                   ("yes", "no"))], growing_ids(vocabulary))
    -> numbers_W = [1 2 0 1 3 4 0], starts_R = [0 7], fields_R = [2], ids = ["test-0"]

A word is a run of Unicode letters and digits, with the marks on them, of the folded text (one
Unicode form, no case, nothing that can't be seen: flanmix/registry/same_text.py); in a script that
writes no spaces, such as Chinese, Japanese or Thai, it is one letter. Everything else parts words
and is dropped. So "3 - 4" equals "3 + 4".

A record's texts are its fields and, where it has no options, its rationale and its answers. A 0
ends each text, and stands for a word that the vocabulary lacks: whatever a run of numbers without a
0 is, its words are known and of one text. A text without a word is left out.

Legend: W words and zeros, R records, T texts, J words and zeros of records without what parts their
texts.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from unicodedata import category

import numpy as np

from flanmix.registry.record import Record
from flanmix.registry.same_text import folded

# Letters of Han, Kana, Thai, Lao, Burmese and Khmer.
UNSPACED = (
    "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"
    "\u1000-\u102a\u103f\u1780-\u17b3"
)
_MARKS = "".join(chr(code) for code in range(0x300, 0x10000) if category(chr(code))[0] == "M")
_WORD = re.compile(r"[^\W_]+")
_ALONE = re.compile(f"[{UNSPACED}]")
_MARK = re.compile(f"[{_MARKS}]")
_MARKED_WORD = re.compile(rf"[^\W_]+(?:[{_MARKS}]+[^\W_]*)*")
# For ASCII, the same three times as fast.
_PARTED = {code: " " for code in range(128) if not chr(code).isalnum()}


def words(text: str) -> list[str]:
    """Returns the words of a text, folded, in order."""
    said = folded(text)
    if said.isascii():
        return said.translate(_PARTED).split()
    # The few different characters of a text tell soon whether the simple way will do.
    characters = "".join(set(said))
    if alone := _ALONE.findall(characters):
        said = said.translate({ord(character): f" {character} " for character in alone})
    word = _MARKED_WORD if _MARK.search(characters) else _WORD
    return word.findall(said)


def more_texts(record: Record) -> tuple[str, ...]:
    """What a record says beside its fields: where it has no options, rationale and answers."""
    if record.options:
        return ()
    return (record.rationale, *record.answers) if record.rationale else record.answers


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
        numbers_W: int32, the words' numbers, with a 0 after each text.
        starts_R: int64, where each record begins, and after the last where it ends.
        fields_R: int32, how many fields with a word each record has; they are its first texts.
        fields_end_R: int64, where the last field of each record ends.
        ends_T: int64, where the 0 is that ends each text.
        ids: the records' names.
    """

    numbers_W: np.ndarray
    starts_R: np.ndarray
    fields_R: np.ndarray
    fields_end_R: np.ndarray
    ends_T: np.ndarray
    ids: Sequence[str]

    def record_of(self, offsets: np.ndarray) -> np.ndarray:
        """The record of each offset of `numbers_W`."""
        return np.searchsorted(self.starts_R, offsets, side="right") - 1

    @cached_property
    def _first_R(self) -> np.ndarray:
        """The number of each record's first text."""
        return np.searchsorted(self.ends_T, self.starts_R)

    def spans(self, record: int) -> list[tuple[int, int]]:
        """Where each field of a record begins and ends, its 0 left out."""
        first = self._first_R[record]
        ends = self.ends_T[first : first + self.fields_R[record]].tolist()
        start = int(self.starts_R[record])
        return list(zip([start, *(offset + 1 for offset in ends[:-1])], ends, strict=True))

    def field_words(self, record: int) -> list[bytes]:
        """The words of each field, as bytes."""
        return [self.numbers_W[start:end].tobytes() for start, end in self.spans(record)]

    def content(self, record: int) -> bytes:
        """The fields, whatever their names and their order: equal for duplicates alone."""
        return bytes(4).join(sorted(self.field_words(record)))

    def known(self) -> np.ndarray:
        """Numbers of the records whose fields have words, all of them in the vocabulary."""
        zeros_W = np.concatenate([[0], np.cumsum(self.numbers_W == 0)])
        zeros_R = zeros_W[self.fields_end_R] - zeros_W[self.starts_R[:-1]]
        return np.flatnonzero((self.fields_R > 0) & (zeros_R == self.fields_R))


def number(records: Iterable[Record], numbering: Numbering) -> Numbered:
    """Numbers the words of records, as `growing_ids` or `frozen_ids` does."""
    found: list[str] = []
    starts, fields, fields_end, ends, ids = [0], [], [], [], []
    for record in records:
        texts = len(ends)
        for text in record.fields.values():
            if some := words(text):
                found += some
                ends.append(len(found))
                found.append("")
        fields.append(len(ends) - texts)
        fields_end.append(len(found))
        for text in more_texts(record):
            if some := words(text):
                found += some
                ends.append(len(found))
                found.append("")
        starts.append(len(found))
        ids.append(record.id)
    return Numbered(
        np.fromiter(numbering(found), np.int32, len(found)),
        np.array(starts, np.int64),
        np.array(fields, np.int32),
        np.array(fields_end, np.int64),
        np.array(ends, np.int64),
        ids,
    )


def no_records() -> Numbered:
    """Returns no records, after a 0."""
    none = np.zeros(0, np.int64)
    zero = np.zeros(1, np.int32)
    return Numbered(zero, np.zeros(1, np.int64), np.zeros(0, np.int32), none, none, [])


def joined(parts: Sequence[Numbered]) -> Numbered:
    """Returns the records of several parts as one."""
    before = np.cumsum([0, *(len(part.numbers_W) for part in parts)]).tolist()

    def moved(name: str) -> np.ndarray:
        values = [getattr(part, name) + n for part, n in zip(parts, before, strict=False)]
        return np.concatenate([np.empty(0, np.int64), *values])

    starts = [part.starts_R[:-1] + n for part, n in zip(parts, before, strict=False)]
    return Numbered(
        np.concatenate([np.empty(0, np.int32), *(part.numbers_W for part in parts)]),
        np.concatenate([*starts, before[-1:]]),
        np.concatenate([np.empty(0, np.int32), *(part.fields_R for part in parts)]),
        moved("fields_end_R"),
        moved("ends_T"),
        [name for part in parts for name in part.ids],
    )


@dataclass(frozen=True)
class Running:
    """Records with their texts run together, one after another in their order.

    Attributes:
        numbers_J: int32, the words' numbers, with a 0 after each record that has words.
        offset_J: int64, where each was in `Numbered.numbers_W`.
        starts_R: int64, where each record begins, and after the last where it ends.
    """

    numbers_J: np.ndarray
    offset_J: np.ndarray
    starts_R: np.ndarray

    @classmethod
    def of(cls, records: Numbered) -> "Running":
        """Runs the texts of each record together."""
        keep_W = np.ones(len(records.numbers_W), bool)
        keep_W[records.ends_T] = False
        last_R = records.starts_R[1:] - 1
        keep_W[last_R[np.diff(records.starts_R) > 0]] = True
        before_W = np.concatenate([[0], np.cumsum(keep_W)])
        offset_J = np.flatnonzero(keep_W)
        return cls(records.numbers_W[offset_J], offset_J, before_W[records.starts_R])

    def words_of(self, record: int) -> bytes:
        """A record's words, as bytes."""
        return self.numbers_J[self.starts_R[record] : self.starts_R[record + 1]].tobytes()

    def record_of(self, offsets: np.ndarray) -> np.ndarray:
        """The record of each offset of `numbers_J`."""
        return np.searchsorted(self.starts_R, offsets, side="right") - 1


def chunks(records: Iterable[Record], characters: int) -> Iterator[list[Record]]:
    """Yields records in chunks of about so many characters: the last may pass the mark."""
    chunk, size = [], 0
    for record in records:
        chunk.append(record)
        size += sum(map(len, record.fields.values())) + len(record.id)
        size += sum(map(len, more_texts(record)))
        if size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
