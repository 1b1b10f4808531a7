"""The order of samples: which task, and which of its records, sample number g is.

The order is a pure function of (rates, sizes, names, seed), with random access: sample ten million
is found without walking over those before it.

**Tasks.** A binary tree over the tasks splits the number of samples so far among its leaves: a node
that has had n of them gives round(n * left / (left + right)) to its left child and the others to
its right one. The counts are whole, add up to n, never go back, and differ from n * rate by less
than log2(tasks) + 1, however small a rate is: no task starves. Samples are numbered in windows of
1,024; the counts at a window's two ends say how often each task is in it, and a seeded permutation
says where:

    rates 0.5, 0.25, 0.25; a window of 8  ->  counts 4, 2, 2  ->  0 2 0 1 0 0 2 1

**Records.** The r-th sample of a task with n records is in epoch r // n, the record at index
shuffle(r % n), a permutation seeded by (seed, task, epoch): each record exactly once an epoch. That
is of samples as they are drawn; those that wait to be packed are trained on later (`packing`).
A small task's permutation is computed at once and kept for a while; a large one's is Grain's index
shuffle, which needs no memory but walks thousands of steps where n is small.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from flanmix.data.randomness import fold

# N: tasks.

WINDOW = 1024
_CACHED_WINDOWS = 64
_BITS = 32  # of a node's share: exact to 2**-32, so counts stay exact to one beyond 10**9 samples
_SMALL = 2**14  # records up to which a task's permutation is computed at once
_SHUFFLE_ROUNDS = 4


class Sample(NamedTuple):
    """One sample: the `rank`-th of its task, which is the record at `index` in this `epoch`."""

    task: int
    rank: int
    epoch: int
    index: int


@dataclass(frozen=True)
class _Window:
    """A window's samples in order: the task of each, and its rank within the task."""

    tasks: np.ndarray
    ranks: np.ndarray


class SampleOrder:
    """The infinite sequence of samples of a mixture.

    Args:
        rates: rate of each task, positive; only their ratios matter.
        sizes: number of records of each task, positive.
        names: name of each task; seeds its shuffle.
        seed: the run's seed.

    Raises:
        ValueError: for a rate or size that is not positive and finite, or unequal lengths.
    """

    def __init__(
        self, rates: Sequence[float], sizes: Sequence[int], names: Sequence[str], seed: int
    ) -> None:
        if not len(rates) == len(sizes) == len(names) or not len(rates):
            raise ValueError(f"{len(rates)} rates, {len(sizes)} sizes, {len(names)} names")
        for name, rate, size in zip(names, rates, sizes, strict=True):
            if not 0 < rate < float("inf"):
                raise ValueError(f"rate of {name} is {rate}: it must be positive")
            if not 0 < size < 2**32:
                raise ValueError(f"size of {name} is {size}: it must be from 1 to 2**32 - 1")
        self.sizes = [int(size) for size in sizes]
        self.names = list(names)
        self._seed = seed
        self._levels = _shares(np.asarray(rates, np.float64))
        self._windows: OrderedDict[int, _Window] = OrderedDict()
        self._shuffles: OrderedDict[tuple[int, int], np.ndarray | int] = OrderedDict()

    def counts(self, samples: int) -> Int64[np.ndarray, " N"]:
        """How many of the first `samples` samples each task has, by the tree.

        Exact at whole windows; within one, the samples' order is that of its permutation.
        """
        counts = np.array([samples], np.uint64)
        for share in self._levels:
            left = _part(counts, share)
            counts = np.stack([left, counts - left], axis=1).reshape(-1)
        return counts[: len(self.sizes)].astype(np.int64)

    def sample(self, number: int) -> Sample:
        """Sample `number`, counted from 0."""
        index, offset = divmod(number, WINDOW)
        window = self._window(index)
        task, rank = int(window.tasks[offset]), int(window.ranks[offset])
        epoch, offset = divmod(rank, self.sizes[task])
        return Sample(task, rank, epoch, self._record(task, epoch, offset))

    def _record(self, task: int, epoch: int, offset: int) -> int:
        """The index of the record at `offset` of the task's shuffle in an epoch."""
        shuffle = self._shuffles.get((task, epoch))
        if shuffle is None:
            shuffle = self._shuffle(task, epoch)
            self._shuffles[task, epoch] = shuffle
            # Two epochs a task: streams that are a little apart straddle an epoch's end.
            if len(self._shuffles) > 2 * len(self.sizes) + 64:
                self._shuffles.popitem(last=False)
        if isinstance(shuffle, int):
            from grain.experimental import index_shuffle  # seconds to import: only where needed

            last = self.sizes[task] - 1
            return index_shuffle(offset, max_index=last, seed=shuffle, rounds=_SHUFFLE_ROUNDS)
        return int(shuffle[offset])

    def _shuffle(self, task: int, epoch: int) -> np.ndarray | int:
        """A small task's permutation, or the seed of a large one's."""
        key = fold(self._seed, "shuffle", self.names[task], epoch)
        size = self.sizes[task]
        return key % 2**32 if size > _SMALL else permutation(size, key).astype(np.uint16)

    def _window(self, index: int) -> _Window:
        if index in self._windows:
            self._windows.move_to_end(index)
            return self._windows[index]
        first, last = self.counts(index * WINDOW), self.counts((index + 1) * WINDOW)
        in_order = np.repeat(np.arange(len(self.sizes)), last - first)
        tasks = in_order[permutation(WINDOW, fold(self._seed, "window", index))]
        by_task = np.argsort(tasks, kind="stable")
        ranks = np.empty(WINDOW, np.int64)
        starts = np.cumsum(last - first) - (last - first)
        ranks[by_task] = np.arange(WINDOW) + (first - starts)[in_order]
        window = _Window(tasks, ranks)
        self._windows[index] = window
        if len(self._windows) > _CACHED_WINDOWS:
            self._windows.popitem(last=False)
        return window


def permutation(size: int, key: int) -> np.ndarray:
    """A permutation of `range(size)` that the 64-bit key decides, the same with every NumPy."""
    # A bit generator's raw numbers are stable for ever; what Generator makes of them is not.
    return np.argsort(np.random.Philox(key=key).random_raw(size), kind="stable")


def _shares(rates: np.ndarray) -> list[np.ndarray]:
    """The left child's share at each node, level by level from the root, in units of 2**-32."""
    depth = max(len(rates) - 1, 0).bit_length()
    sums = np.zeros(2**depth)
    sums[: len(rates)] = rates / rates.max()
    levels = []
    for _ in range(depth):
        pairs = sums.reshape(-1, 2)
        sums = pairs.sum(axis=1)
        share = np.rint(pairs[:, 0] / np.where(sums > 0, sums, 1) * 2.0**_BITS)
        # A child that has any rate keeps some: a share is 0 or 1 only where a side is empty.
        share = np.where(pairs[:, 0] > 0, np.maximum(share, 1), 0)
        share = np.where(pairs[:, 1] > 0, np.minimum(share, 2.0**_BITS - 1), share)
        levels.append(share.astype(np.uint64))
    return levels[::-1]


def _part(counts: np.ndarray, share: np.ndarray) -> np.ndarray:
    """round(counts * share / 2**32) in whole numbers, without leaving 64 bits."""
    bits, low = np.uint64(_BITS), np.uint64(2**_BITS - 1)
    half = np.uint64(2 ** (_BITS - 1))
    return (counts >> bits) * share + (((counts & low) * share + half) >> bits)
