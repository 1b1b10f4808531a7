"""An exact index of the runs of eight words in many texts: 64-bit hashes first, then the words.

    index = GramIndex(numbers_W, task_ends)
    index.find(other_W)              -> (at_H, entry_H): other_W[at:at + 8] are the words of entry
    index.offsets(entry_H[:1])        -> where those words stand in numbers_W
    index.task_of(entry_H)           -> in which task

An entry is eight words as they occur in one task, so that a find has a hit for each task that has
the words. A filter of bits, by the hash, lets nearly all strange words go; what passes is looked up
among the sorted hashes, and what is found there is compared word by word. Two texts of one hash are
therefore two entries, and no result depends on the hash.

Memory is about 26 bytes a word that is indexed, 35 while the index is made.

Legend: W words and zeros (flanmix/audit/overlap/words.py), E entries, P their offsets, H hits.
"""

import itertools
from collections.abc import Iterator

import numpy as np

GRAM = 8
_BLOCK = 1 << 20


class GramIndex:
    """The runs of eight words in a text; numbers as in `Numbered`, its tasks one after another."""

    def __init__(self, numbers_W: np.ndarray, task_ends: np.ndarray) -> None:
        """Indexes the text.

        Args:
            numbers_W: the words.
            task_ends: where each task ends.
        """
        self.numbers_W = numbers_W
        self._task_ends = task_ends
        offsets_P, hashes_P = _all_grams(numbers_W)
        offsets_P = offsets_P[np.argsort(hashes_P, kind="stable")]
        hashes_P.sort()
        first_P, collided = self._first(offsets_P, hashes_P)
        if collided:
            keys = [numbers_W[offsets_P + k] for k in reversed(range(GRAM))]
            offsets_P = offsets_P[np.lexsort((offsets_P, *keys, hashes_P))]
            first_P, _ = self._first(offsets_P, hashes_P)
        self._hashes_E = hashes_P[first_P]
        del hashes_P
        self.entries = len(self._hashes_E)
        starts = np.flatnonzero(first_P).astype(np.int32)
        self._starts_E = np.append(starts, np.int32(len(offsets_P)))
        self._offsets_P = offsets_P
        self.entry_W = np.full(len(numbers_W), -1, np.int32)
        self.entry_W[offsets_P] = np.cumsum(first_P, dtype=np.int32) - np.int32(1)
        self._shift, self._bits = _filter(self._hashes_E)

    def _first(self, offsets_P: np.ndarray, hashes_P: np.ndarray) -> tuple[np.ndarray, bool]:
        """Which offset is the first of its entry, and whether two texts have one hash."""
        first_P, collided = np.ones(len(offsets_P), bool), False
        for start in range(1, len(offsets_P), _BLOCK):
            here = offsets_P[start : start + _BLOCK]
            before = offsets_P[start - 1 : start - 1 + len(here)]
            hashes = hashes_P[start - 1 : start + len(here)]
            alike = np.flatnonzero(hashes[1:] == hashes[:-1])
            here, before = here[alike], before[alike]
            same = _equal(self.numbers_W, before, self.numbers_W, here)
            collided |= not same.all()
            same &= self._task_at(here) == self._task_at(before)
            first_P[start + alike] = ~same
        return first_P, collided

    def _task_at(self, offsets: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._task_ends, offsets, side="right")

    def find(self, numbers_W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (at_H, entry_H): each offset of another text whose eight words are an entry."""
        at, hashes = grams(numbers_W)
        slot = hashes >> self._shift
        maybe = (self._bits[slot >> np.uint64(3)] >> (slot & np.uint64(7)).astype(np.uint8)) & 1
        passed = np.flatnonzero(maybe)
        at, hashes = at[passed], hashes[passed]
        low = np.searchsorted(self._hashes_E, hashes)
        found = self._hashes_E[np.minimum(low, self.entries - 1)] == hashes
        at, hashes, low = at[found], hashes[found], low[found]
        count = np.searchsorted(self._hashes_E, hashes, side="right") - low
        at_H, entry_H = np.repeat(at, count), ranges(low, count)
        same = _equal(self.numbers_W, self._offsets_P[self._starts_E[entry_H]], numbers_W, at_H)
        return at_H[same], entry_H[same]

    def task_of(self, entries: np.ndarray) -> np.ndarray:
        """The task of each entry."""
        return self._task_at(self._offsets_P[self._starts_E[entries]])

    def counts(self, entries: np.ndarray) -> np.ndarray:
        """How often each entry occurs."""
        return self._starts_E[entries + 1].astype(np.int64) - self._starts_E[entries]

    def offsets(self, entries: np.ndarray) -> np.ndarray:
        """All offsets of entries, one entry after another, each one's in order."""
        counts = self.counts(entries)
        return self._offsets_P[ranges(self._starts_E[entries].astype(np.int64), counts)]

    def blocks(self, counts: np.ndarray) -> Iterator[slice]:
        """Parts of a list of entries that have about a million offsets each, as `counts` says."""
        part = np.cumsum(counts) // _BLOCK
        edges = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(counts)]
        return (slice(start, end) for start, end in itertools.pairwise(edges))


def grams(numbers_W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where eight words without a 0 begin, and their 64-bit hashes."""
    whole = numbers_W > 0
    hashes = _scattered(numbers_W.astype(np.uint64))
    for step, power in _POWERS:
        whole = whole[:-step] & whole[step:]
        hashes = hashes[:-step] * power + hashes[step:]
    at = np.flatnonzero(whole)
    return at, _scattered(hashes[at])


_ODD = 0x9E3779B97F4A7C15
_POWERS = [(step, np.uint64(pow(_ODD, step, 1 << 64))) for step in (1, 2, 4)]


def _scattered(values: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit numbers that sets near ones far apart (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _all_grams(numbers_W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `grams`, by blocks; offsets are int32."""
    offsets, hashes = np.empty(len(numbers_W), np.int32), np.empty(len(numbers_W), np.uint64)
    end = 0
    for start in range(0, len(numbers_W), _BLOCK):
        at, found = grams(numbers_W[start : start + _BLOCK + GRAM - 1])
        offsets[end : end + len(at)] = at + start
        hashes[end : end + len(at)] = found
        end += len(at)
    return offsets[:end], hashes[:end]


def _filter(hashes_E: np.ndarray) -> tuple[np.uint64, np.ndarray]:
    """Returns (shift, bytes): bit `hash >> shift` is set for each hash; at least 8 bits an entry.

    The hashes are sorted, so the bits of a byte stand together.
    """
    bits = max(16, (8 * len(hashes_E)).bit_length())
    shift = np.uint64(64 - bits)
    table = np.zeros(1 << (bits - 3), np.uint8)
    for start in range(0, len(hashes_E), _BLOCK):
        slot = hashes_E[start : start + _BLOCK] >> shift
        byte = (slot >> np.uint64(3)).astype(np.int64)
        first = np.flatnonzero(np.diff(byte, prepend=-1))
        bit = np.left_shift(1, (slot & np.uint64(7)).astype(np.uint8), dtype=np.uint8)
        table[byte[first]] |= np.bitwise_or.reduceat(bit, first)
    return shift, table


def _equal(one_W: np.ndarray, at: np.ndarray, other_W: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Whether the eight words from each offset of a text are those from a offset of another."""
    same = np.ones(len(at), bool)
    for k in range(GRAM):
        same &= one_W[at + k] == other_W[there + k]
    return same


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns start, start + 1, ..., count numbers of each, one after another."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - counts), counts)
