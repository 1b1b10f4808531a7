"""Writes the page of all templates: every template of every task, on a record.

    python scripts/make_templates_page.py [docs/templates.html]

A Flan 2021 task is shown on the hand-made records of tests/tasks/raw/<task>.json, a pocket task on
its own training records. The same cards and records make the same page.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from flanmix.data.canonical import canonicalize
from flanmix.data.sources.records import canonical_records
from flanmix.pages.task_templates import Collection, page
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "templates.html"
RAW = ROOT / "tests" / "tasks" / "raw"
MOST = 20  # training records of a pocket task among which each template finds one

COLLECTIONS = [
    Collection(
        "flan2021",
        "Flan 2021",
        "The records are made up for this page, in the form of the datasets' own.",
    ),
    Collection(
        "pocket",
        "Pocket",
        "The collection that ships with its data: each task's first training record.",
    ),
]


def records_of(task: TaskSpec) -> Iterator[Record]:
    """Yields the records on which a task's templates are shown."""
    if task.source.kind == "tfds":
        rows = json.loads((RAW / f"{task.name}.json").read_text(encoding="utf-8"))
        for number, row in enumerate(rows):
            yield from canonicalize(task, row, f"made-{number}")
    else:
        yield from itertools.islice(canonical_records(task, "train"), MOST)


def make() -> str:
    """Returns the page."""
    return page(Catalogue([tasks_root()]), COLLECTIONS, records_of)


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(make(), encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
