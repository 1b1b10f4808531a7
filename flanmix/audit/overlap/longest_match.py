"""The longest run of words that a training task shares with each of some held-out tasks.

    longest = LongestMatches(held_out, index)
    longest.add(chunk, task_H, at_H, entry_H)     # for each chunk: what GramIndex.find gave, sorted
    longest.best[3]                               -> Match(words=41, test=Key(...), offset=..., ...)

A run of eight words or more is found exactly. Where hits stand one after another in a training
record, a run may be as long as all of them, never longer; those that could beat or tie the best so
far are compared with the held-out texts, the most promising first. To find a run of L words it is
enough to look from every (L - 7)th hit: it holds one of these. Ties go to the first test record,
then to the first training record, by their names, so that the order of records does not matter.

Legend: H hits, S words of a stretch of hits, P offsets in the held-out text.
"""

from dataclasses import dataclass

import numpy as np

from flanmix.audit.overlap.ngram_index import GRAM, GramIndex
from flanmix.audit.overlap.words import Numbered

_CELLS = 1 << 20


@dataclass(frozen=True, order=True)
class Match:
    """A shared run of words; the smallest is the worst.

    Attributes:
        missing: its length in words, negated: the longest run sorts first.
        test: the test record, as `by_number`.
        train: the training record, as `by_number`.
        offset: where it begins in the held-out text.
    """

    missing: int
    test: tuple[int, str]
    train: tuple[int, str]
    offset: int

    @property
    def words(self) -> int:
        """Its length in words."""
        return -self.missing


def by_number(name: str) -> tuple[int, str]:
    """A key that sorts `test-9` before `test-10`."""
    return len(name), name


class LongestMatches:
    """The best run of each held-out task; `best` lacks a task with none."""

    def __init__(self, held_out: Numbered, index: GramIndex) -> None:
        self.best: dict[int, Match] = {}
        self._held_out = held_out
        self._index = index

    def offer(self, task: int, words: int, offset: int, train: str) -> None:
        """Takes a run that was found, if it is worse than the one so far."""
        record = int(self._held_out.record_of(np.array([offset]))[0])
        match = Match(-words, by_number(self._held_out.ids[record]), by_number(train), offset)
        if task not in self.best or match < self.best[task]:
            self.best[task] = match

    def add(
        self, chunk: Numbered, task_H: np.ndarray, at_H: np.ndarray, entry_H: np.ndarray
    ) -> None:
        """Looks for longer runs in a chunk of training records.

        Args:
            chunk: the records.
            task_H: the held-out task of each hit, ascending.
            at_H: its offset in the chunk, ascending within a task.
            entry_H: its entry in the index.
        """
        follows = (np.diff(at_H) == 1) & (np.diff(task_H) == 0)
        starts = np.flatnonzero(np.concatenate([[True] * bool(len(at_H)), ~follows]))
        hits = np.diff(np.append(starts, len(at_H)))
        tasks, at = task_H[starts], at_H[starts]
        promising = np.flatnonzero(hits + GRAM - 1 >= self._least(tasks))
        promising = promising[np.argsort(-hits[promising], kind="stable")]
        records = chunk.record_of(at)
        seen: dict[tuple[int, bytes], tuple[int, int] | None] = {}
        for i in promising.tolist():
            task, length = int(tasks[i]), int(hits[i])
            least = self.best[task].words if task in self.best else GRAM
            if length + GRAM - 1 < least:
                continue
            numbers_S = chunk.numbers_W[at[i] : at[i] + length + GRAM - 1]
            key = (task, numbers_S.tobytes())
            if key not in seen:
                seen[key] = self._longest(numbers_S, entry_H[starts[i] : starts[i] + length], least)
            if (found := seen[key]) is not None:
                self.offer(task, *found, chunk.ids[records[i]])

    def _least(self, tasks: np.ndarray) -> np.ndarray:
        """How long a run of each of these tasks must be to matter."""
        known = {task: match.words for task, match in self.best.items()}
        least = np.full(int(tasks.max(initial=0)) + 1, GRAM)
        for task, words in known.items():
            if task < len(least):
                least[task] = words
        return least[tasks]

    def _longest(
        self, numbers_S: np.ndarray, entries: np.ndarray, least: int
    ) -> tuple[int, int] | None:
        """Returns (words, offset) of the longest run of a stretch, if it has `least` words."""
        offsets, i = np.empty(0, np.int64), least - GRAM
        while i < len(entries):
            all_P = self._index.offsets(entries[i : i + 1]).astype(np.int64)
            step = max(1, _CELLS // len(numbers_S))
            for start in range(0, len(all_P), step):
                here_P = all_P[start : start + step]
                before_P, words_P = self._extents(numbers_S, i, here_P)
                longest = int(words_P.max())
                if longest >= least:
                    found = (here_P - before_P)[words_P == longest]
                    offsets = found if longest > least else np.concatenate([offsets, found])
                    least = longest
            i += least - GRAM + 1
        if not len(offsets):
            return None
        ids, records = self._held_out.ids, self._held_out.record_of(offsets).tolist()
        choices = zip(records, offsets.tolist(), strict=True)
        return least, min(choices, key=lambda c: (by_number(ids[c[0]]), c[1]))[1]

    def _extents(
        self, numbers_S: np.ndarray, i: int, offset_P: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How far the eight words from i on go on at each offset: (words before, words in all)."""
        columns = np.arange(-i, len(numbers_S) - i)
        # The text begins and ends with a 0, which no word of a stretch is.
        there = self._held_out.numbers_W.take(offset_P[:, None] + columns, mode="clip")
        apart = there != numbers_S
        edge = np.ones((len(offset_P), 1), bool)
        before_P = np.concatenate([apart[:, :i][:, ::-1], edge], axis=1).argmax(axis=1)
        after_P = np.concatenate([apart[:, i + GRAM :], edge], axis=1).argmax(axis=1)
        return before_P, before_P + GRAM + after_P
