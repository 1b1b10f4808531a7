"""A few rendered examples of one task, drawn as the loader draws them.

    preview(task, count=2, split="train", store=Store("store"))
    -> [TextExample((Span("It rains. ...", False), Span("yes", True)), "rte", 3, "train-17"), ...]

With a store the records are the prepared ones; without, they come straight from the source where
that is cheap (files, and functions beside the card).
"""

import random
from collections.abc import Callable
from itertools import islice

from flanmix.data.fewshot import exemplars
from flanmix.data.randomness import fold
from flanmix.data.render import TextExample, draw, render
from flanmix.data.sources.api import source_of
from flanmix.data.sources.records import canonical_records
from flanmix.data.store.store import Store
from flanmix.errors import UserError
from flanmix.registry.hints import prepare_hint
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

_POOL = 2000  # records read from a source without a store: enough to choose from, soon read

# How many records a split has, and a function that reads some by their indices.
_Records = tuple[int, Callable[[list[int]], list[Record]]]


def preview(
    task: TaskSpec,
    *,
    count: int,
    split: str = "train",
    template: int | None = None,
    few_shot: int = 0,
    seed: int = 0,
    store: Store | None = None,
) -> list[TextExample]:
    """Returns examples, drawn by the seed.

    Args:
        task: the task.
        count: how many at most.
        split: the split that records are drawn from.
        template: this template alone; None to draw it for each record.
        few_shot: exemplars before each.
        seed: decides records, templates and exemplars.
        store: where the task is prepared; None to read from its source.

    Raises:
        UserError: the split or the template is not the task's, the source is not cheap, or no
            record fits.
    """
    _check(task, split, template)
    records = _open(task, split, store)
    train = records
    if few_shot and split != "train":
        train = _open(task, "train", store)
    size, read = records
    order = list(range(size))
    random.Random(fold(seed, "show", task.name)).shuffle(order)
    wanted = range(len(task.templates)) if template is None else (template,)
    examples: list[TextExample] = []
    for index in order:
        record = read([index])[0]
        drawn = draw(task, record, wanted, seed, 0)
        if drawn is None:
            continue
        number, reference = drawn
        shown: tuple[Record, ...] = ()
        if few_shot:
            shown = exemplars(
                task,
                record,
                number,
                few_shot,
                read=train[1],
                size=train[0],
                seed=seed,
                exclude=index if split == "train" else None,
            )
        examples.append(render(task, record, number, reference=reference, exemplars=shown))
        if len(examples) == count:
            break
    if not examples:
        raise UserError(f"task '{task.name}', split {split}: no record fits these templates")
    return examples


def _check(task: TaskSpec, split: str, template: int | None) -> None:
    known = [name for name, expression in task.splits.items() if expression]
    if split not in known:
        raise UserError(f"task '{task.name}' has no split '{split}': it has {', '.join(known)}")
    if template is not None and template >= len(task.templates):
        last = len(task.templates) - 1
        raise UserError(
            f"task '{task.name}' has no template {template}: they count from 0 to {last}"
        )


def _open(task: TaskSpec, split: str, store: Store | None) -> _Records:
    if store is not None:
        reader = store.open(task, split)
        return len(reader), reader.__getitems__
    if not source_of(task).cheap:
        raise UserError(
            f"task '{task.name}' reads from {task.source.kind}: {prepare_hint(task.name)}, "
            "then show it with --store DIR"
        )
    pool = list(islice(canonical_records(task, split), _POOL))
    return len(pool), lambda indices: [pool[index] for index in indices]
