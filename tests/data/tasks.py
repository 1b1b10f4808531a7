"""Small tasks for the tests of this room."""

from pathlib import Path

from flanmix.registry.record import Record
from flanmix.registry.task import Source, TaskSpec
from flanmix.registry.template import Template


def toy(folder: Path | None = None, **changes: object) -> TaskSpec:
    """A generation task over `question` and `answer`; changes replace its parts."""
    parts: dict = {
        "name": "toy",
        "collection": "mine",
        "cluster": "qa",
        "version": 1,
        "kind": "generation",
        "source": Source("jsonl", "."),
        "splits": {"train": "train.jsonl", "validation": None, "test": "test.jsonl"},
        "fields": {"question": "question"},
        "answer": "answer",
        "templates": (Template("{question}"), Template("Answer this. {question}")),
        "metrics": ("exact_match",),
        "folder": folder,
    }
    return TaskSpec(**(parts | changes))


def records(count: int, text: str = "what is {0}?", split: str = "train") -> list[Record]:
    """Records of `toy`."""
    return [
        Record(f"{split}-{i}", {"question": text.replace("{0}", str(i))}, (str(i),))
        for i in range(count)
    ]
