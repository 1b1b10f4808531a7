"""Which held-out records stand whole in a training record, wherever and in however many texts.

    test   {"text": "Who wrote it?", "title": "Ulysses"}
    train  {"title": "Ulysses", "more": "He asked: who wrote it?"}, answer "Joyce"    -> contained

A record is contained if each of its fields stands, word for word, in the running words of one
training record: its fields, rationale and answers one after another. So a test text is found that
is a training answer, that has another field beside it, that was joined with another text or was
parted. Records whose longest field has fewer than three words are left out.

Each held-out record is looked up by one *anchor*, whichever of these occurs least among the
held-out records: eight words in a row of a field, or a whole field of up to seven words. Where
its anchor stands in a training record, all of its fields are looked for there; the result depends
on no hash and on no anchor.

Legend: R held-out records, E entries of the index, J running words, H hits, L words of a text.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from flanmix.audit.overlap.ngram_index import GRAM, GramIndex, ranges
from flanmix.audit.overlap.words import Numbered, Running

LEAST = 3  # words of the longest field
_RARE = 4  # an eight-word run that so few records have needs no better anchor
# How often a short text stands somewhere by chance, beside one of three words and more.
_BY_CHANCE = {1: 1000, 2: 30}
_BLOCK = 1 << 20
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Anchors:
    """The held-out records by their anchors."""

    def __init__(self, text: Numbered, index: GramIndex, content_R: np.ndarray, words: int) -> None:
        """Chooses the anchors.

        Args:
            text: the held-out records.
            index: of their words.
            content_R: the first of each record's duplicates; that one is looked up for all.
            words: how many the vocabulary has.
        """
        self._text = text
        self._words: dict[int, list[bytes]] = {}
        first_R = content_R == np.arange(len(content_R))
        wanted = np.flatnonzero(first_R & (longest_fields(text) >= LEAST))
        count_R, entry_R = _rarest(text, index)
        rare = wanted[count_R[wanted] <= _RARE]
        entries, records = entry_R[rare].tolist(), rare.tolist()
        self._short: defaultdict[bytes, list[int]] = defaultdict(list)
        others = wanted[count_R[wanted] > _RARE].tolist()
        brief = {record: _short_fields(text, record) for record in others}
        often = Counter(words for some in brief.values() for words in set(some))
        for record in others:
            costs = [(often[w] * _BY_CHANCE.get(len(w) // 4, 1), w) for w in brief[record]]
            cost, short = min(costs, default=(np.inf, b""))
            if cost < count_R[record]:
                self._short[short].append(record)
            else:
                entries.append(int(entry_R[record]))
                records.append(record)
        order = np.argsort(entries, kind="stable")
        self._entries = np.array(entries, np.int64)[order]
        self._records = np.array(records, np.int64)[order]
        self._is_anchor_E = np.zeros(index.entries, bool)
        self._is_anchor_E[self._entries] = True
        self._prepare_short(words)

    def _prepare_short(self, words: int) -> None:
        """Bit k of a word is set if it is word k of a short text; hashes by the texts' lengths."""
        self._bits = np.zeros(words + 1, np.uint8)
        hashes: defaultdict[int, list[int]] = defaultdict(list)
        for text in self._short:
            numbers = np.frombuffer(text, np.int32)
            for k, number in enumerate(numbers.tolist()):
                self._bits[number] |= 1 << k
            hashes[len(numbers)].append(_hash(numbers))
        self._hashes = {n: np.unique(np.array(h, np.uint64)) for n, h in hashes.items()}

    def candidates(
        self, running: Running, at_H: np.ndarray, entry_H: np.ndarray
    ) -> Iterator[tuple[int, int]]:
        """Yields (training record, held-out record) where the one has the other's anchor.

        Args:
            running: the training records.
            at_H: where `running` has eight words of the index.
            entry_H: which entry they are.
        """
        anchored = self._is_anchor_E[entry_H]
        train = running.record_of(at_H[anchored])
        pairs = np.unique(np.stack([train, entry_H[anchored]]), axis=1)
        low = np.searchsorted(self._entries, pairs[1])
        count = np.searchsorted(self._entries, pairs[1], side="right") - low
        records = self._records[ranges(low, count)].tolist()
        yield from zip(np.repeat(pairs[0], count).tolist(), records, strict=True)
        for at, text in self._short_texts(running.numbers_J):
            for train in np.unique(running.record_of(at)).tolist():
                yield from ((train, record) for record in self._short[text])

    def _short_texts(self, numbers_J: np.ndarray) -> Iterator[tuple[np.ndarray, bytes]]:
        """Yields each short text that occurs, and where."""
        if not self._hashes:
            return
        at = np.flatnonzero(self._bits[numbers_J] & 1)
        hashes = numbers_J[at].astype(np.uint64)
        for length in range(1, max(self._hashes) + 1):
            if length in self._hashes:
                table = self._hashes[length]
                slot = np.minimum(np.searchsorted(table, hashes), len(table) - 1)
                yield from self._verified(numbers_J, at[table[slot] == hashes], length)
            # The running words end with a 0, which no short text has.
            word = numbers_J.take(at + length, mode="clip")
            on = (self._bits[word] >> length & 1).astype(bool)
            at, hashes = at[on], hashes[on] * _ODD + word[on].astype(np.uint64)

    def _verified(
        self, numbers_J: np.ndarray, at: np.ndarray, length: int
    ) -> Iterator[tuple[np.ndarray, bytes]]:
        if not len(at):
            return
        found = numbers_J[at[:, None] + np.arange(length)]
        texts, which = np.unique(found, axis=0, return_inverse=True)
        order = np.argsort(which.reshape(-1), kind="stable")
        ends = np.cumsum(np.bincount(which.reshape(-1), minlength=len(texts)))
        for text, places in zip(texts, np.split(at[order], ends[:-1]), strict=True):
            words = text.astype(np.int32).tobytes()
            if words in self._short:
                yield places, words

    def stands_in(self, record: int, words: bytes) -> bool:
        """Whether all fields of a held-out record stand in a training record's running words."""
        if record not in self._words:
            self._words[record] = sorted(self._text.field_words(record), key=len)
        return all(_is_within(field, words) for field in self._words[record])


def longest_fields(text: Numbered) -> np.ndarray:
    """The words of each record's longest field."""
    longest_R = np.zeros(len(text.ids), np.int64)
    begins_T = np.concatenate([text.starts_R[:1], text.ends_T[:-1] + 1])[: len(text.ends_T)]
    record_T = text.record_of(text.ends_T)
    field_T = text.ends_T < text.fields_end_R[record_T]
    np.maximum.at(longest_R, record_T[field_T], (text.ends_T - begins_T)[field_T])
    return longest_R


def _rarest(text: Numbered, index: GramIndex) -> tuple[np.ndarray, np.ndarray]:
    """The rarest eight words of each record's fields: how often they occur, and their entry."""
    records = len(text.ids)
    count_R = np.full(records, np.iinfo(np.int64).max)
    entry_R = np.full(records, -1, np.int64)
    full = np.flatnonzero(text.fields_end_R > text.starts_R[:-1])
    if not index.entries or not len(full):
        return count_R, entry_R
    block = text.starts_R[full] // _BLOCK
    for some in np.split(full, np.flatnonzero(np.diff(block)) + 1):
        begin, end = text.starts_R[some[0]], text.fields_end_R[some[-1]]
        entry_W = index.entry_W[begin:end].astype(np.int64)
        count_W = np.where(entry_W >= 0, index.counts(np.maximum(entry_W, 0)), 2**31 - 1)
        # Fields, and what stands between one record's and the next one's, turn about.
        edges = np.stack([text.starts_R[some], text.fields_end_R[some]], axis=1).reshape(-1) - begin
        keys = (count_W << 32) + np.arange(len(count_W))
        best = np.minimum.reduceat(np.append(keys, 0), edges)[::2]
        found = best >> 32 < 2**31 - 1
        count_R[some[found]] = best[found] >> 32
        entry_R[some[found]] = entry_W[best[found] & (2**32 - 1)]
    return count_R, entry_R


def _short_fields(text: Numbered, record: int) -> list[bytes]:
    return [words for words in text.field_words(record) if len(words) < 4 * GRAM]


def _hash(numbers: np.ndarray) -> int:
    value = 0
    for number in numbers.tolist():
        value = (value * int(_ODD) + number) % 2**64
    return value


def _is_within(words: bytes, others: bytes) -> bool:
    """Whether words of four bytes stand in others."""
    at = others.find(words)
    while at >= 0 and at % 4:
        at = others.find(words, at + 1)
    return at >= 0
