"""Few-shot exemplars: records of the query's own task, shown before it in its own template.

    exemplar_indices(seed=0, task="rte", epoch=0, query="train-17", size=100, count=3, exclude=17)
        ->  different records of the training split, by index, none of them 17

The choice is pure in (seed, task, epoch, query). Exemplars always come from the training split,
whatever split the query is from. A record is passed over that lacks a field which the template
needs, or that is a twin of the query or of an exemplar before it: what the template shows of both
says the same, but for case, spaces and Unicode's forms (flanmix/registry/same_text.py). Where all
exemplars do not fit the inputs, the last ones are left out, one by one: the query is never
truncated for their sake. So a query may have fewer than were asked for; `flanmix mixture` says how
often.
"""

from collections.abc import Callable, Sequence

import numpy as np

from flanmix.data.mixing import permutation
from flanmix.data.randomness import fold, uniform
from flanmix.data.render import eligible_templates
from flanmix.registry.record import Record
from flanmix.registry.same_text import as_said
from flanmix.registry.task import TaskSpec

# How exemplars are chosen. A run's record keeps it, so that no run goes on with other exemplars.
CHOICE = "without twins (2)"

_SPARE = 4  # candidates beyond the count, for those that are passed over


def wants_exemplars(seed: int, task: str, epoch: int, query: str, share: float) -> bool:
    """Whether this query gets exemplars, which a `share` of a task's examples does."""
    return share > 0 and uniform(seed, "few_shot", task, epoch, query) < share


def exemplar_indices(
    seed: int, task: str, epoch: int, query: str, size: int, count: int, exclude: int | None
) -> list[int]:
    """Indices of records of the training split to take as exemplars, in order of preference.

    Args:
        seed: the run's seed.
        task: the task's name.
        epoch: the query's epoch.
        query: the query's record id.
        size: records of the training split.
        count: exemplars wanted; a few spare indices are returned as well.
        exclude: the query's own index, or None where it is of another split.
    """
    others = size - (exclude is not None)
    if others < 1 or count < 1:
        return []
    wanted = min(others, count + _SPARE)
    key = fold(seed, "exemplars", task, epoch, query)
    if others <= 4 * wanted:
        indices = permutation(others, key)[:wanted].tolist()
    else:
        drawn = np.random.Philox(key=key).random_raw(4 * wanted) % np.uint64(others)
        indices = list(dict.fromkeys(drawn.tolist()))[:wanted]
    return [index + (exclude is not None and index >= exclude) for index in indices]


def choose_exemplars(
    task: TaskSpec, query: Record, template: int, candidates: Sequence[Record], count: int
) -> tuple[Record, ...]:
    """The first `count` candidates that may be shown before the query in this template."""
    chosen: list[Record] = []
    said = {_said(task, query, template)}
    for candidate in candidates:
        if len(chosen) == count:
            break
        words = _said(task, candidate, template)
        if candidate.id == query.id or words in said:
            continue
        if eligible_templates(task, candidate, (template,)):
            chosen.append(candidate)
            said.add(words)
    return tuple(chosen)


def _said(task: TaskSpec, record: Record, template: int) -> tuple[str, ...]:
    """What a template shows of a record's fields; all of them where it uses none."""
    used = task.templates[template].fields & record.fields.keys() or record.fields.keys()
    return tuple(as_said(record.fields[name]) for name in sorted(used))


def exemplars(
    task: TaskSpec,
    query: Record,
    template: int,
    count: int,
    *,
    read: Callable[[list[int]], list[Record]],
    size: int,
    seed: int,
    epoch: int = 0,
    exclude: int | None = None,
) -> tuple[Record, ...]:
    """Exemplars for one query, drawn and read.

    Args:
        task: the task.
        query: the record that is asked.
        template: the template of all of them.
        count: exemplars wanted.
        read: reads records of the training split by their indices.
        size: records of the training split.
        seed: the run's seed.
        epoch: the query's epoch.
        exclude: the query's own index, or None where it is of another split.
    """
    indices = exemplar_indices(seed, task.name, epoch, query.id, size, count, exclude)
    return choose_exemplars(task, query, template, read(indices), count)
