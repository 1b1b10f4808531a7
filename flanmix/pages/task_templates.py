r"""The page of all templates: every template of every task, on a record, for people to judge.

    page(catalogue, [Collection("pocket", "Pocket", "The tasks that ...")], records_of)
    ->  "<!doctype html>..."

Each template is shown on the first of its task's records that has all its fields. What a record
fills in is told apart from what the template itself says, by marking the record's texts before they
are rendered:

    pieces("Is it \ue000text\ue001wet\ue002?")
    ->  (Piece("Is it ", ""), Piece("wet", "text"), Piece("?", ""))
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from flanmix.data.render import eligible_templates
from flanmix.data.render import render as render_pair
from flanmix.pages.rendering import render
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

# Characters for private use, which no record has: a filled-in text is OPEN name MIDDLE text CLOSE.
OPEN, MIDDLE, CLOSE = "\ue000", "\ue001", "\ue002"
_FILLED = re.compile(f"{OPEN}(\\w+){MIDDLE}([^{OPEN}-{CLOSE}]*){CLOSE}")

# Clusters whose heading is more than their name with spaces.
_HEADINGS = {
    "closed_book_qa": "Closed-book QA",
    "misc": "Miscellaneous",
    "nli": "NLI",
    "read_comp_with_commonsense": "Reading comprehension with commonsense",
}


@dataclass(frozen=True)
class Collection:
    """A collection to show: its name in the catalogue, a heading, and a line about its records."""

    name: str
    title: str
    about: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a rendered text; `field` is what of a record it is, empty for the template's."""

    text: str
    field: str


@dataclass(frozen=True)
class TemplateView:
    """A template on a record."""

    number: int
    inverted: bool
    inputs: tuple[Piece, ...]
    targets: tuple[Piece, ...]


@dataclass(frozen=True)
class TaskView:
    """A task: facts as names and values, and its templates."""

    name: str
    facts: tuple[tuple[str, str], ...]
    templates: tuple[TemplateView, ...]


@dataclass(frozen=True)
class ClusterView:
    """A cluster of a collection."""

    title: str
    tasks: tuple[TaskView, ...]


@dataclass(frozen=True)
class CollectionView:
    """A collection, its clusters in the order of their names."""

    name: str
    title: str
    about: str
    clusters: tuple[ClusterView, ...]


RecordsOf = Callable[[TaskSpec], Iterable[Record]]


def page(catalogue: Catalogue, collections: Sequence[Collection], records_of: RecordsOf) -> str:
    """Returns the HTML page.

    Args:
        catalogue: where the tasks are.
        collections: what to show, in order.
        records_of: gives the canonical records on which a task's templates are shown.

    Raises:
        ValueError: if no record of a task has the fields of one of its templates.
    """
    shown = view(catalogue, collections, records_of)
    return render("task_templates.html.j2", collections=shown)


def view(
    catalogue: Catalogue, collections: Sequence[Collection], records_of: RecordsOf
) -> tuple[CollectionView, ...]:
    """Returns what the page shows; arguments as those of `page`."""
    first: dict[object, str] = {}  # the first task with these templates
    shown = []
    for collection in collections:
        clusters: dict[str, list[TaskSpec]] = {}
        for task in map(catalogue.task, catalogue.expand(collection.name)):
            clusters.setdefault(task.cluster, []).append(task)
        views = []
        for cluster, tasks in sorted(clusters.items()):
            rows = [
                _task(task, records_of(task), first.setdefault(task.templates, task.name))
                for task in tasks
            ]
            views.append(ClusterView(_heading(cluster), tuple(rows)))
        shown.append(
            CollectionView(collection.name, collection.title, collection.about, tuple(views))
        )
    return tuple(shown)


def pieces(text: str) -> tuple[Piece, ...]:
    """Splits a text that was rendered from a marked record."""
    # With two groups in the pattern: text, field, value, text, field, value, ..., text.
    parts = _FILLED.split(text)
    found = [Piece(parts[0], "")]
    for field, value, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found += [Piece(value, field), Piece(rest, "")]
    return tuple(piece for piece in found if piece.text)


def _task(task: TaskSpec, records: Iterable[Record], same_as: str) -> TaskView:
    if task.options:
        options = ", ".join(task.options)
    else:
        options = "the record's own" if task.has_options else "none"
    inverted = sum(template.inverted for template in task.templates)
    facts = [
        ("source", f"{task.source.kind} {task.source.location}"),
        ("kind", task.kind),
        ("options", options),
        ("metrics", ", ".join(task.metrics)),
        ("templates", f"{len(task.templates)}, {inverted or 'none'} inverted"),
    ]
    if same_as != task.name:
        facts.append(("same templates as", same_as))
    return TaskView(task.name, tuple(facts), tuple(_templates(task, list(records))))


def _templates(task: TaskSpec, records: Sequence[Record]) -> Iterator[TemplateView]:
    """Each template on the first record that has its fields."""
    for number, template in enumerate(task.templates):
        fitting = (record for record in records if eligible_templates(task, record, [number]))
        record = next(fitting, None)
        if record is None:
            raise ValueError(f"task '{task.name}', template {number}: no record has its fields")
        pair = render_pair(task, _marked(record), number)
        yield TemplateView(number, template.inverted, pieces(pair.inputs), pieces(pair.targets))


def _marked(record: Record) -> Record:
    """The record with every text in marks that say which field of a template it fills."""

    def mark(name: str, text: str) -> str:
        return f"{OPEN}{name}{MIDDLE}{text}{CLOSE}"

    return replace(
        record,
        fields={name: mark(name, text) for name, text in record.fields.items()},
        answers=tuple(mark("answer", text) for text in record.answers),
        options=tuple(mark("options", text) for text in record.options),
    )


def _heading(cluster: str) -> str:
    return _HEADINGS.get(cluster) or cluster.replace("_", " ").capitalize()
