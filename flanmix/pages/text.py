"""The mixture card, contamination, scores and compared runs as plain text, for the terminal.

print(mixture_text(card))
task  cluster  examples  capped at  rate  share %  epochs/M  templates  in  out  tokens %  ...
rte   nli          2290          -  2290      3.1      13.6         10  78  2.0       2.9
"""

from collections.abc import Sequence
from typing import Any

from flanmix.audit.against import Against
from flanmix.audit.mixture_card import MixtureCard, MixtureRow
from flanmix.audit.overlap.overlap import COMPARED, Worst
from flanmix.console import printable, table
from flanmix.evaluate.scores import Scores, TaskScores
from flanmix.pages.comparison import Comparison, Row, ScoreSection

_PAIRS = 40  # of tasks that share something, in a table
_WORDS = 12  # of a shared run
_TERMINAL = 80  # columns
_LEAST_NAME = 24  # of them, what names get beside figures

# ---- the mixture card --------------------------------------------------------------------------

_CARD = [
    "task",
    "cluster",
    "examples",
    "capped at",
    "rate",
    "share %",
    "epochs/M",
    "templates",
    "in",
    "out",
    "tokens %",
    "loss %",
    "unknown %",
]
_READING = ["cut in %", "cut out %"]  # with a run's lengths
_NAMED = 3  # tasks that a line names


def mixture_text(card: MixtureCard) -> str:
    """A line a task, the totals, and what is shared with test records if that was measured."""
    header = _CARD if card.reading is None else [*_CARD, *_READING]
    rows = [_card_row(task)[: len(header)] for task in card.tasks]
    total = f"{card.name}: {len(rows)} tasks, total rate {card.total_rate:,.6g}"
    if card.vocabulary is not None:
        unknown = _percent(card.unknown_share) or 0.0
        total += f"; tokens in vocabulary '{card.vocabulary}', {unknown:.3g}% unknown"
    parts = ["\n".join([table(header, rows), total, *card_notes(card)])]
    if card.against is not None:
        parts.append(against_text(card.against))
    return "\n\n".join(parts)


def _card_row(task: MixtureRow) -> list[Any]:
    return [
        task.name,
        task.cluster,
        task.examples,
        task.capped_at,
        task.rate,
        100 * task.share,
        task.epochs_per_million,
        task.templates,
        task.inputs_tokens,
        task.targets_tokens,
        _percent(task.share_of_tokens),
        _percent(task.share_of_loss),
        _percent(task.unknown_share),
        _percent(task.inputs_truncated),
        _percent(task.targets_truncated),
    ]


def card_notes(card: MixtureCard) -> list[str]:
    """Lines on what is cut, what waits, and where exemplars are fewer than asked for."""
    notes = []
    if card.vocabulary is not None and card.reading is None:
        notes.append(
            "tokens and loss are of whole texts: --gin_file, or --inputs_length and "
            "--targets_length, count what a run's lengths leave"
        )
    if card.reading is not None:
        run = card.reading
        notes.append(
            f"tokens and loss are what INPUTS_LENGTH={run.inputs_length} and "
            f"TARGETS_LENGTH={run.targets_length} leave ({run.architecture}): "
            f"{100 * (card.inputs_truncated or 0):.1f}% of the inputs and "
            f"{100 * (card.targets_truncated or 0):.1f}% of the targets are cut"
        )
    if card.waiting and card.reading is not None:
        notes.append(
            f"up to {card.waiting:,} drawn examples wait to be packed ({card.reading.streams} "
            "streams), the long ones longest: after one epoch's worth of a task, at most about so "
            f"much of its records is unseen: {_most(card, 'unseen_share')}"
        )
    if any(task.fewer_exemplars for task in card.tasks):
        notes.append(
            "queries with fewer exemplars than few_shot, since too few records differ from them "
            f"or fit: {_most(card, 'fewer_exemplars')}"
        )
    return notes


def _most(card: MixtureCard, name: str) -> str:
    """The tasks that have most of something, with their shares: `rte 34%, snli 2%`."""
    shares = [(task.name, getattr(task, name)) for task in card.tasks if getattr(task, name)]
    shares.sort(key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{task} {100 * share:.3g}%" for task, share in shares[:_NAMED])
    return f"{named} and {len(shares) - _NAMED} more" if len(shares) > _NAMED else named


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


# ---- contamination -----------------------------------------------------------------------------

_COUNTS = ["duplicates", "%", "contained", "%", "13-grams", "%", "8-grams", "%"]


def shares(counts: Sequence[int], records: int) -> list[tuple[int, float]]:
    """Each count with its share of a task's test records, in percent."""
    return [(count, 100 * count / max(1, records)) for count in counts]


def against_text(against: Against) -> str:
    """Two tables: every test task, and the worst pairs."""
    overlap = against.overlap
    sizes = {task.name: task.records for task in overlap.tasks}
    tasks = [
        [task.name, split, task.records, *_cells(task, task.records)]
        for task, split in zip(overlap.tasks, against.splits, strict=True)
    ]
    head = f"against {against.mixture}: test records that are in, or share words with, the training"
    parts = [head, *COMPARED, table(["test task", "split", "records", *_COUNTS], tasks)]
    if not overlap.pairs:
        return "\n".join([*parts, "no pair of tasks shares 8 words in a row or a record"])
    pairs = [
        [pair.task, pair.other, *_cells(pair, sizes[pair.other]), *_worst(pair.worst)]
        for pair in overlap.pairs[:_PAIRS]
    ]
    last = ["words", "test record", "training record", "longest shared run"]
    parts += ["", table(["training task", "test task", *_COUNTS, *last], pairs)]
    if len(overlap.pairs) > _PAIRS:
        parts.append(f"and {len(overlap.pairs) - _PAIRS} more pairs: --json has them all")
    return "\n".join(parts)


def _cells(found: Any, records: int) -> list[int | str]:
    counts = (found.duplicates, found.contained, found.shared_13, found.shared_8)
    rows = shares(counts, records)
    return [cell for count, share in rows for cell in (count, f"{share:.2f}")]


def _worst(worst: Worst) -> list[int | str]:
    """How many words a run has, its records, and its beginning."""
    count = len(worst.words.split())
    return [count, worst.record, worst.train_record, printable(beginning(worst.words, _WORDS))]


def beginning(words: str, count: int) -> str:
    """The first words of a run, with dots for the rest."""
    there = words.split()
    return words if len(there) <= count else " ".join([*there[:count], "..."])


# ---- scores -------------------------------------------------------------------------------------

# Shares of a task's questions, in %; a column is there where one of them is not 0.
_LOSSES = {
    "inputs cut %": "trimmed",
    "targets cut %": "targets_trimmed",
    "options equal %": "equal_options",
    "unanswerable %": "unanswerable",
}
_SEEN = {"neither": "", "cluster": "its cluster", "task": "the task", "unknown": "unknown"}


def scores_text(scores: Scores) -> str:
    """The scores as plain text: a line a task, then clusters, groups and the mean."""
    header = [
        *("task", "cluster", "trained on", "metric", "baseline"),
        *("mean", "median", "best", "records"),
    ]
    rows = [_row(name, task) for name, task in scores.tasks.items()]
    for column, field in _LOSSES.items():
        shares = [getattr(task, field) or None for task in scores.tasks.values()]
        if any(shares):
            header.append(column)
            rows = [[*row, share] for row, share in zip(rows, shares, strict=True)]
    parts = [table(header, rows)]
    parts.append(table(["cluster", "mean"], [[*item] for item in scores.clusters().items()]))
    groups = [[name, *_group(scores.group(name))] for name in scores.groups]
    parts.append(table(["group", "accuracy", "majority", "mean"], groups))
    if scores.texts:
        texts = [[name, *text.values()] for name, text in scores.texts.items()]
        parts.append(table(["text", *next(iter(scores.texts.values()))], texts))
    if (mean := scores.mean()) is not None:
        scored = sum(bool(task.primary and task.templates) for task in scores.tasks.values())
        parts.append(f"step {scores.step}, mean over {scored} tasks: {mean:.2f}")
    if scores.missing:
        parts.append(f"not prepared, and left out: {', '.join(scores.missing)}")
    return "\n\n".join(parts)


def _row(name: str, task: TaskScores) -> list[Any]:
    key = task.primary or next(iter(task.mean()))
    best = task.best.metrics[key] if task.best else None
    return [
        *(name, task.cluster, _SEEN[task.seen], key, task.baseline.get(key)),
        *(task.mean().get(key), task.median().get(key), best, task.examples),
    ]


def _group(group: dict[str, Any]) -> list[float | None]:
    return [group["accuracy"], group["majority"], group["mean"]]


# ---- compared runs ------------------------------------------------------------------------------


def comparison_text(comparison: Comparison) -> str:
    """The runs by letter, then what differs in their configuration, and their scores."""
    letters = comparison.letters
    parts = ["\n".join(f"{letter}  {name}" for letter, name in comparison.runs)]
    parts.append(_fitted("", letters, comparison.measures))
    if comparison.configuration:
        parts.append(_fitted("gin name", letters, comparison.configuration))
    else:
        parts.append("The configurations are the same, RUN_DIR aside.")
    parts += ["\n".join(comparison.notes)] if comparison.notes else []
    parts += [_differences(section, comparison) for section in comparison.scores]
    return "\n\n".join(parts)


def _differences(section: ScoreSection, comparison: Comparison) -> str:
    """Columns of figures behind the names; a name that leaves them no room has its own line."""
    rows = [(section.title.lower(), [*comparison.letters, *comparison.difference_names])]
    rows += [(r.name, [*map(_tenths, (*r.values, *r.differences))]) for r in section.rows]
    figures = [(name, "".join(f"{cell:>8}" for cell in cells)) for name, cells in rows]
    room = max(_LEAST_NAME, _TERMINAL - len(figures[0][1]))
    width = min(room, max(len(name) for name, _ in rows))
    lines = []
    for name, cells in figures:
        lines += [f"{name:<{width}}{cells}"] if len(name) <= width else [name, " " * width + cells]
    return "\n".join(lines)


def _tenths(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _fitted(first: str, letters: Sequence[str], rows: Sequence[Row]) -> str:
    """A table or, where that is wider than a terminal, a line a value."""
    text = table([first, *letters], [[row.name, *row.values] for row in rows])
    if max(map(len, text.splitlines())) <= _TERMINAL:
        return text
    lines = []
    for row in rows:
        pairs = zip(letters, row.values, strict=True)
        lines += [row.name, *(f"  {letter}  {value or '-'}" for letter, value in pairs)]
    return "\n".join(lines)
