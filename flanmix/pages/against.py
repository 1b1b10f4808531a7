"""The section of the mixture card's page that says what is shared with test records.

    view(against).pairs[0]
    ->  PairRow("snli", "rte", counts=(Count(0, 0.0), Count(1, 0.36), Count(2, 0.72), ...),
                words="a man is ...", run="22 words of test-40 and train-7")

A row for each test task, and one for each of the worst pairs of tasks, with the longest run of
words that they share.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flanmix.audit.overlap.overlap import COMPARED
from flanmix.pages.text import beginning, shares

if TYPE_CHECKING:
    from flanmix.audit.against import Against

_PAIRS = 200
_WORDS = 40


@dataclass(frozen=True)
class Count:
    """A number of test records, and its share of the task's in percent."""

    count: int
    percent: float


@dataclass(frozen=True)
class TestedTask:
    """A test task, with its counts of duplicates, contained records, 13-grams and 8-grams."""

    name: str
    split: str
    records: int
    counts: tuple[Count, ...]


@dataclass(frozen=True)
class PairRow:
    """A training and a test task, with the same counts and the beginning of the longest run."""

    training_task: str
    test_task: str
    counts: tuple[Count, ...]
    words: str
    run: str


@dataclass(frozen=True)
class AgainstView:
    """What the section shows; `more` pairs share something and are left out.

    `compared` are sentences on what was compared; `left_out` are tasks that were not, with why.
    """

    mixture: str
    tasks: tuple[TestedTask, ...]
    pairs: tuple[PairRow, ...]
    more: int
    compared: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def view(against: "Against") -> AgainstView:
    """Returns what the section shows."""
    overlap = against.overlap
    sizes = {task.name: task.records for task in overlap.tasks}
    tasks = (
        TestedTask(task.name, split, task.records, _counts(task, task.records))
        for task, split in zip(overlap.tasks, against.splits, strict=True)
    )
    pairs = (_pair(pair, sizes[pair.other]) for pair in overlap.pairs[:_PAIRS])
    more = max(0, len(overlap.pairs) - _PAIRS)
    return AgainstView(
        against.mixture, tuple(tasks), tuple(pairs), more, COMPARED, left_out(against)
    )


def left_out(against: "Against") -> tuple[str, ...]:
    """Lines on the test tasks that were not compared; the card names its own that are absent."""
    kinds = (
        ("test tasks that are not prepared", against.absent_tests),
        ("without a test or validation split", against.without_tests),
    )
    return tuple(f"{kind}, and not compared: {', '.join(names)}" for kind, names in kinds if names)


def _pair(pair: Any, records: int) -> PairRow:
    worst = pair.worst
    return PairRow(
        training_task=pair.task,
        test_task=pair.other,
        counts=_counts(pair, records),
        words=beginning(worst.words, _WORDS),
        run=f"{len(worst.words.split())} words of {worst.record} and {worst.train_record}",
    )


def _counts(found: Any, records: int) -> tuple[Count, ...]:
    counts = (found.duplicates, found.contained, found.shared_13, found.shared_8)
    return tuple(Count(*pair) for pair in shares(counts, records))
