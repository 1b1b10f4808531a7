"""What the home-made collections of several test packages share: tasks over a text and a note."""

from collections.abc import Sequence

from flanmix.registry.task import Source, TaskSpec
from flanmix.registry.template import Template

WORDS = ["river", "stone", "lamp", "green", "walk", "seven", "quiet", "paper", "moon", "under"]


def words(number: int, count: int) -> list[str]:
    """Some of the words, other ones for each number."""
    return [WORDS[(number * 7 + i * (number % 5 + 1)) % len(WORDS)] for i in range(count)]


def small_task(name: str, templates: Sequence[Template], **changes: object) -> TaskSpec:
    """A generation task over `text` and an optional `note`; changes replace its parts."""
    parts: dict = {
        "name": name,
        "collection": "small",
        "cluster": "all",
        "version": 1,
        "kind": "generation",
        "source": Source("jsonl", "."),
        "splits": {"train": "train.jsonl", "validation": None, "test": "test.jsonl"},
        "fields": {"text": "text", "note": "note"},
        "answer": "answer",
        "templates": tuple(templates),
        "metrics": ("exact_match",),
        "optional": ("note",),
    }
    return TaskSpec(**(parts | changes))
