"""What an evaluation was made of, so that one of something else is not taken for it.

    described(run, tasks, store)
    ->  {"groups": {"seen": "tiny"}, "examples": 4, "selection": 0, "lengths": [48, 16],
         "records": "5ab1c2d3e4f50617"}
    is_of(scores, evaluation=described(run, tasks, store), tasks, store)      -> True

A step's scores hold it under `evaluation`. Those that were written before they did are compared by
what they list: groups, tasks, templates, and how many records.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flanmix.data.store.store import Store
from flanmix.evaluate.evaluator import EvalTask
from flanmix.train.settings import Evaluation, Run


def described(run: Run, tasks: Sequence[EvalTask], store: Store) -> dict[str, Any]:
    """Returns what a run's evaluation is made of; `records` is a hash over cards and records."""
    evaluation = run.evaluation
    parts = [
        [
            task.spec.name,
            task.split,
            task.templates,
            task.spec.fingerprint(),
            store.sha256(task.spec, task.split) or "",
            (store.sha256(task.spec, "validation") or "") if evaluation.selection else "",
        ]
        for task in tasks
    ]
    return {
        "groups": _groups(run),
        "examples": evaluation.examples,
        "selection": evaluation.selection,
        "lengths": [run.data.inputs_length, run.data.targets_length],
        **({"texts": _texts(evaluation)} if evaluation.texts else {}),
        "records": hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16],
    }


def _texts(evaluation: Evaluation) -> dict[str, list]:
    """Each text's file, its size, and how much of it is read."""
    paths = {name: Path(path).expanduser() for name, path in (evaluation.texts or {}).items()}
    return {
        name: [str(path), path.stat().st_size if path.exists() else 0, evaluation.text_bytes]
        for name, path in paths.items()
    }


def is_of(
    scores: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    tasks: Sequence[EvalTask],
    store: Store,
) -> bool:
    """Whether scores, as their file holds them, are what an evaluation would make again.

    Args:
        scores: the content of a file of `scores/`.
        evaluation: what the evaluation is made of.
        tasks: what it scores.
        store: where they are prepared.
    """
    if "evaluation" in scores:
        there = set(evaluation["groups"]) <= set(scores["groups"])
        return there and scores["evaluation"] == evaluation
    listed = {
        name: (task["split"], sorted(map(int, task["templates"])), task["examples"])
        for name, task in scores.get("details", {}).items()
    }
    wanted = {}
    for task in tasks:
        count = store.count(task.spec, task.split)
        if count is not None:
            examples = count if task.limit is None else min(count, task.limit)
            wanted[task.spec.name] = (task.split, sorted(task.templates), examples)
    groups = {group for task in tasks for group in task.groups}
    return listed == wanted and set(scores.get("groups", ())) == groups


def _groups(run: Run) -> dict[str, str]:
    """Groups with their mixtures; the run's own mixture where none are named."""
    named = run.evaluation.groups
    return {run.data.mixture: run.data.mixture} if named is None else dict(named)
