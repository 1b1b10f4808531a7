"""The code that decides a task's records: what its functions run, beside the card.

    code_files(task)        -> {"toy.py": tasks/mine/nli/toy.py, "common.py": ...}

A card's function may import its neighbours, and those others: `registry/imports` follows them.
"""

from collections.abc import Mapping
from pathlib import Path

from flanmix.data.sources.api import SOURCES, python_files
from flanmix.registry.task import TaskSpec

# Kinds of sources that are code; their readers need nothing but the card to name its files.
_KINDS = ("python", "seqio")


def code_files(task: TaskSpec) -> dict[str, Path]:
    """The files of the code that makes a task's records, by the names that a manifest has."""
    kind = task.source.kind
    return with_mapping(task, SOURCES[kind].files(task, None) if kind in _KINDS else {})


def with_mapping(task: TaskSpec, files: Mapping[str, Path]) -> dict[str, Path]:
    """A source's files and those of the card's mapping; names that both have are told apart."""
    found = dict(files)
    for name, path in python_files(task, task.mapping).items() if task.mapping else ():
        same = found.get(name, path).resolve() == path.resolve()
        found[name if same else f"{task.mapping}: {name}"] = path
    return found
