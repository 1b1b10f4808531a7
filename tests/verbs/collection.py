"""A prepared collection of small tasks for the tests of the inspecting verbs."""

import json
from collections.abc import Sequence
from pathlib import Path

from flanmix.data.store.store import Store
from flanmix.registry.card import load_card
from flanmix.registry.record import Record
from tests.registry.cards import write_card

OPTIONS = ("yes", "no")


def make_rows(count: int) -> list[dict[str, object]]:
    """Raw records that fit the card of tests/registry/cards.py."""
    return [
        {"text": {"premise": f"It rains {i}."}, "hypothesis": f"Wet {i}", "label": i % 2}
        for i in range(count)
    ]


def write_task(root: Path, place: str, rows: Sequence[dict[str, object]]) -> None:
    """Writes a card and its rows beside it, in a cluster of the task's own."""
    path = write_card(root, place)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (path.parent / "rows.jsonl").write_text(lines)


def make_records(count: int) -> list[Record]:
    """Canonical records of the same."""
    return [
        Record(
            f"train-{i}",
            {"premise": f"It rains {i}.", "hypothesis": f"Wet {i}"},
            (OPTIONS[i % 2],),
            OPTIONS,
        )
        for i in range(count)
    ]


def store_task(root: Path, place: str, folder: Path, records: Sequence[Record]) -> Store:
    """Writes records, whatever they are, as the train split of a task's store."""
    store = Store(folder)
    store.write(load_card(root / f"{place}.yaml"), "train", records)
    return store
