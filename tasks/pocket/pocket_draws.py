"""How the pocket collection's generators draw: by hash, so that every machine draws the same.

A stream of records has a name. Record `number` of the stream is made by a function from a `Draws`,
which gives the same words for the same (name, number) for ever and has no state outside itself:

    def make(draws: Draws, number: int) -> dict:
        return {"text": f"The {draws.pick(('cat', 'dog'))} sleeps."}

    stream("naps", make, "test", same=("text",))

`stream` walks the numbers, leaves out what it has seen (by the texts named in `same`), and cuts the
rest into splits: the first `TEST` records, then `VALIDATION`, then the training records. So no text
is in two splits, and tasks that are made from one stream share records only within a split.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from flanmix.data.randomness import fold

TEST = 200
VALIDATION = 100
SEED = 2026
Word = TypeVar("Word")


class Draws:
    """The draws of one record."""

    def __init__(self, name: str, number: int) -> None:
        self._key = (name, number)
        self._count = 0

    def below(self, bound: int) -> int:
        """A whole number from 0, below `bound`."""
        self._count += 1
        return fold(SEED, *self._key, self._count) % bound

    def pick(self, words: Sequence[Word]) -> Word:
        """One of the words."""
        return words[self.below(len(words))]

    def several(self, words: Sequence[Word], count: int) -> list[Word]:
        """That many different words, in drawn order."""
        left = list(words)
        return [left.pop(self.below(len(left))) for _ in range(count)]


def stream(
    name: str,
    make: Callable[[Draws, int], dict[str, Any]],
    split: str,
    *,
    same: Sequence[str],
    train: int = 2000,
) -> Iterator[dict[str, Any]]:
    """Yields the records of one split.

    Args:
        name: the stream's name.
        make: makes a record; by the number it can balance answers.
        split: train, validation or test.
        same: two records with the same texts under these keys are one record.
        train: number of training records.

    Raises:
        ValueError: for an unknown split, or when `make` has too few different records.
    """
    bounds = {
        "test": (0, TEST),
        "validation": (TEST, TEST + VALIDATION),
        "train": (TEST + VALIDATION, TEST + VALIDATION + train),
    }
    if split not in bounds:
        raise ValueError(f"split is {split!r}: one of {', '.join(bounds)}")
    start, stop = bounds[split]
    seen: set[tuple[Any, ...]] = set()
    for number in range(20 * (TEST + VALIDATION + train)):
        record = make(Draws(name, number), number)
        text = tuple(record[key] for key in same)
        if text in seen:
            continue
        seen.add(text)
        if start < len(seen) <= stop:
            yield record
        if len(seen) == stop:
            return
    raise ValueError(f"stream '{name}' has only {len(seen)} different records, {stop} are wanted")
