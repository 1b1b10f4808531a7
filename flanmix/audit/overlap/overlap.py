"""Is it clean? What the records of training tasks share with the test records of held-out tasks.

    train  train-0  {"text": "Say: the cat sat on the mat all day long, and slept."}
    test   test-0   {"text": "Why? The cat sat on the mat, ALL DAY LONG!"}
           test-1   {"text": "say the cat sat on the mat all day long and slept"}
           test-2   {"text": "The cat sat on the mat."}

    held_out = HeldOut([("cats", test)])
    overlap = compare(held_out, [("pets", train)])
    overlap.tasks  -> [TaskOverlap("cats", records=3, duplicates=1, shared_13=0, shared_8=2,
                                   contained=2)]
    overlap.pairs  -> [PairOverlap("pets", "cats", duplicates=1, shared_13=0, shared_8=2,
                          worst=Worst("test-1", "train-0", "say the cat sat ..."), contained=2)]

A record's texts are its fields and, where it has no options, its rationale and its answers: texts
that a model learns to write. They are compared as sequences of words (see `words`). Test records
are counted, each once however often it is met:
- `duplicates`: some training record has the same fields, whatever their names and order;
- `contained`: each field stands whole in the texts of one training record, run together (see
  `contained`; the longest has three words or more), or it is a duplicate;
- `shared_13`, `shared_8`: some text shares a run of 13, or 8, words with some text of a training
  record (n-grams lie within one text).
The options of a record, and its answer among them, are left out, unless they are a field: what two
tasks' records have in common is the text, and "yes" proves nothing. Short records can be duplicates
or contained without sharing eight words. `worst` is the longest run that is shared: of the first
test record by its name that has one as long; of a duplicate or a contained record it is its longest
field, if that is longer.

The held-out side is kept: see `ngram_index` for its memory. The training side passes by in
chunks of about a million characters, and nothing of it stays but what was found. No count depends
on a hash, on the chunks, or on the order of records.

Legend: W words and zeros, R held-out records, E entries of the index, H hits of a chunk.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from flanmix.audit.overlap.contained import Anchors
from flanmix.audit.overlap.longest_match import LongestMatches, by_number
from flanmix.audit.overlap.ngram_index import GRAM, GramIndex
from flanmix.audit.overlap.words import (
    Numbered,
    Running,
    chunks,
    frozen_ids,
    growing_ids,
    joined,
    new_vocabulary,
    no_records,
    number,
)
from flanmix.errors import UserError
from flanmix.registry.record import Record

CHUNK = 1 << 20
# What the figures mean, for whoever reads them.
COMPARED = (
    "compared: each record's fields and, where it has no options, its rationale and answers; as "
    "words, without case, punctuation, invisible characters and differences of Unicode form; in "
    "scripts without spaces a character is a word",
    "duplicates: the same fields; contained: every field stands whole in the texts, run together, "
    "of one training record (the longest has 3 words or more); 13-grams, 8-grams: so many words in "
    "a row within one text",
    "not seen: options and answers chosen from them, paraphrases, translations, texts with other "
    "words every few words",
)
Progress = Callable[[str, int], None]
# A run of 13 words is two runs of 8, the second of which begins 5 words later.
_APART = 13 - GRAM


@dataclass(frozen=True)
class Worst:
    """The longest shared run of a pair: its records' names, and its words."""

    record: str
    train_record: str
    words: str


@dataclass(frozen=True)
class TaskOverlap:
    """A held-out task: its records, and how many of them any training task shares."""

    name: str
    records: int
    duplicates: int
    shared_13: int
    shared_8: int
    contained: int = 0


@dataclass(frozen=True)
class PairOverlap:
    """How many records of a held-out task, `other`, one training task shares; `task` is that one.

    Attributes:
        task: the training task.
        other: the held-out task.
        duplicates: test records that are a training record.
        shared_13: test records that share 13 words in a row.
        shared_8: test records that share 8.
        worst: the longest run.
        contained: test records that stand whole in a training record.
    """

    task: str
    other: str
    duplicates: int
    shared_13: int
    shared_8: int
    worst: Worst
    contained: int = 0


@dataclass(frozen=True)
class Overlap:
    """All that was found: `tasks` in order, `pairs` that share something, the worst first.

    A pair is worse that shares more of its test records: whole or 13 words, then 8 words.
    """

    tasks: tuple[TaskOverlap, ...]
    pairs: tuple[PairOverlap, ...]


class HeldOut:
    """The test records of some tasks, indexed."""

    def __init__(
        self,
        tasks: Iterable[tuple[str, Iterable[Record]]],
        *,
        chunk: int = CHUNK,
        progress: Progress = lambda task, records: None,
    ) -> None:
        """Reads and indexes the records.

        Args:
            tasks: each task's name and its test records.
            chunk: about how many characters to take at a time.
            progress: callback(task, records) with the number of records just read.

        Raises:
            UserError: if they have 2 ** 31 - 1 words or more.
        """
        vocabulary = new_vocabulary()
        # The text begins with a 0, as it ends with one.
        parts = [no_records()]
        names, ends, sizes = [], [], []
        words = records = 0
        for name, rows in tasks:
            for some in chunks(rows, chunk):
                parts.append(number(some, growing_ids(vocabulary)))
                words += len(parts[-1].numbers_W)
                records += len(some)
                progress(name, len(some))
            names.append(name)
            ends.append(words + 1)
            sizes.append(records)
        if words >= 2**31 - 1:
            raise UserError(
                f"the test records have {words:,} words: more than 2 ** 31 are too many"
            )
        self.names = tuple(names)
        self.text = joined(parts)
        del parts
        self.index = GramIndex(self.text.numbers_W, np.array(ends))
        self._word_list = tuple(vocabulary)
        self.numbering = frozen_ids(vocabulary)
        self.record_ends = np.array(sizes, np.int64)
        self._contents()
        self.anchors = Anchors(self.text, self.index, self.content_R, len(self._word_list))

    def _contents(self) -> None:
        """Groups equal records: `content_R` is the first of each one's group, -1 without words."""
        self.content_R = np.full(len(self.text.ids), -1, np.int32)
        self._by_hash: dict[int, list[int]] = {}
        for record in self.text.known().tolist():
            content = self.text.content(record)
            first = self.duplicate_of(content)
            if first is None:
                self._by_hash.setdefault(_hash(content), []).append(record)
            self.content_R[record] = record if first is None else first

    def duplicate_of(self, content: bytes) -> int | None:
        """The first test record with exactly this content, or None."""
        for record in self._by_hash.get(_hash(content), ()):
            if self.text.content(record) == content:
                return record
        return None

    def count(self, flag_R: np.ndarray) -> list[int]:
        """How many records of each task are flagged."""
        total = np.concatenate([[0], np.cumsum(flag_R)])
        return np.diff(total[np.concatenate([[0], self.record_ends])]).tolist()

    def words(self, offset: int, count: int) -> str:
        """The words at a offset."""
        return " ".join(self._word_list[i] for i in self.text.numbers_W[offset : offset + count])


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


class _Comparison:
    """What one training task shares with the held-out side."""

    def __init__(self, held_out: HeldOut) -> None:
        records = len(held_out.text.ids)
        self.duplicate_R = np.zeros(records, bool)
        self.contained_R = np.zeros(records, bool)
        self.shared_13_R = np.zeros(records, bool)
        self.shared_8_R = np.zeros(records, bool)
        self.longest = LongestMatches(held_out.text, held_out.index)
        self._held_out = held_out
        self._seen_E = np.zeros(held_out.index.entries, bool)
        self._duplicates: dict[int, tuple[int, str]] = {}
        self._contained: dict[int, tuple[int, str]] = {}

    def add(self, chunk: Numbered) -> None:
        """Compares a chunk of training records."""
        self._add_duplicates(chunk)
        index, running = self._held_out.index, Running.of(chunk)
        at_H, entry_H = index.find(running.numbers_J)
        self._add_contained(chunk, running, at_H, entry_H)
        # Eight words of one text were eight in a row before the texts were run together.
        last_H, at_H = running.offset_J[at_H + GRAM - 1], running.offset_J[at_H]
        within = last_H - at_H == GRAM - 1
        at_H, entry_H = at_H[within], entry_H[within]
        if not len(at_H):
            return
        task_H = index.task_of(entry_H)
        order = np.lexsort((at_H, task_H))
        at_H, entry_H, task_H = at_H[order], entry_H[order], task_H[order]
        new = np.unique(entry_H[~self._seen_E[entry_H]])
        self._seen_E[new] = True
        for part in index.blocks(index.counts(new)):
            self._flag(self.shared_8_R, index.offsets(new[part]))
        together = (np.diff(task_H) == 0) & (np.diff(at_H) == 1)
        self._add_13(entry_H, together)
        self.longest.add(chunk, task_H, at_H, entry_H)

    def _add_13(self, entry_H: np.ndarray, together: np.ndarray) -> None:
        """Flags records by pairs of hits five words apart, with hits on all words between."""
        linked = np.concatenate([[0], np.cumsum(together)])
        first = np.flatnonzero(linked[_APART:] - linked[:-_APART] == _APART)
        index = self._held_out.index
        pairs = np.unique(entry_H[first].astype(np.int64) * index.entries + entry_H[first + _APART])
        left, right = pairs // index.entries, pairs % index.entries
        # Whichever is rarer leads to the offsets, where the other must stand too.
        rarer = index.counts(left) <= index.counts(right)
        for here, there, shift in (
            (left[rarer], right[rarer], _APART),
            (right[~rarer], left[~rarer], -_APART),
        ):
            counts = index.counts(here)
            for part in index.blocks(counts):
                offsets = index.offsets(here[part])
                wanted = np.repeat(there[part], counts[part])
                met = index.entry_W.take(offsets + shift, mode="clip") == wanted
                self._flag(self.shared_13_R, offsets[met])

    def _flag(self, flag_R: np.ndarray, offsets: np.ndarray) -> None:
        flag_R[self._held_out.text.record_of(offsets)] = True

    def _add_duplicates(self, chunk: Numbered) -> None:
        for record in chunk.known().tolist():
            first = self._held_out.duplicate_of(chunk.content(record))
            if first is not None:
                _keep_first(self._duplicates, first, by_number(chunk.ids[record]))

    def _add_contained(
        self, chunk: Numbered, running: Running, at_H: np.ndarray, entry_H: np.ndarray
    ) -> None:
        anchors, words, last = self._held_out.anchors, b"", -1
        for train, record in anchors.candidates(running, at_H, entry_H):
            name = by_number(chunk.ids[train])
            if record in self._contained and self._contained[record] <= name:
                continue
            if train != last:
                words, last = running.words_of(train), train
            if anchors.stands_in(record, words):
                _keep_first(self._contained, record, name)

    def finish(self) -> None:
        """Flags what stands whole in a training record; its longest field is a shared run."""
        held_out = self._held_out
        self.duplicate_R = np.isin(held_out.content_R, list(self._duplicates))
        for first, name in self._duplicates.items():
            _keep_first(self._contained, first, name)
        self.contained_R = np.isin(held_out.content_R, list(self._contained))
        for record in np.flatnonzero(self.contained_R).tolist():
            task = int(np.searchsorted(held_out.record_ends, record, side="right"))
            spans = held_out.text.spans(record)
            start, end = max(spans, key=lambda span: (span[1] - span[0], -span[0]))
            _, train = self._contained[int(held_out.content_R[record])]
            self.longest.offer(task, end - start, start, train)


def _keep_first(names: dict[int, tuple[int, str]], record: int, name: tuple[int, str]) -> None:
    """Keeps the first training record by its name, whatever order they come in."""
    names[record] = min(names.get(record, name), name)


def compare(
    held_out: HeldOut,
    training: Iterable[tuple[str, Iterable[Record]]],
    *,
    chunk: int = CHUNK,
    progress: Progress = lambda task, records: None,
) -> Overlap:
    """Compares training tasks with the held-out side.

    Args:
        held_out: the test records.
        training: each training task's name and its records, which are read once, in chunks.
        chunk: about how many characters to take at a time.
        progress: callback(task, records) with the number of records just compared.
    """
    any_R = [np.zeros(len(held_out.text.ids), bool) for _ in range(4)]
    sizes = np.diff(held_out.record_ends, prepend=0).tolist()
    pairs: list[tuple[tuple[float, float], PairOverlap]] = []
    for name, rows in training:
        found = _Comparison(held_out)
        for some in chunks(rows, chunk):
            found.add(number(some, held_out.numbering))
            progress(name, len(some))
        found.finish()
        flags = (found.duplicate_R, found.shared_13_R, found.shared_8_R, found.contained_R)
        for whole_R, flag_R in zip(any_R, flags, strict=True):
            whole_R |= flag_R
        exposed = held_out.count(found.contained_R | found.shared_13_R)
        duplicates, shared_13, shared_8, contained = map(held_out.count, flags)
        for task, match in found.longest.best.items():
            words = held_out.words(match.offset, match.words)
            worst = Worst(match.test[1], match.train[1], words)
            pair = PairOverlap(
                name,
                held_out.names[task],
                duplicates[task],
                shared_13[task],
                shared_8[task],
                worst,
                contained[task],
            )
            shares = (exposed[task] / sizes[task], pair.shared_8 / sizes[task])
            pairs.append((shares, pair))
    pairs.sort(key=lambda item: (-item[0][0], -item[0][1], item[1].task, item[1].other))
    tasks = map(TaskOverlap, held_out.names, sizes, *map(held_out.count, any_R))
    return Overlap(tuple(tasks), tuple(pair for _, pair in pairs))
