"""Scores: per template, task and cluster, and how they are written.

    scores.json  {"step": 200, "tasks": {"rte": {"accuracy": 61.5}}, "clusters": {"nli": 61.5},
                  "mean": 61.5, "missing": [], "groups": {...}, "details": {...}, "samples": [...]}

`tasks` has a task's mean over its templates, `clusters` and `mean` the mean over tasks of their
primary figure (that of a task's first metric, see `metrics`). `details` holds for each
task its templates one by one, the median over them, the template that is best on validation records
with its own score (Wei et al. 2022, section 3, report this and the mean), the baseline, and whether
the model has been trained on it or its cluster (`seen`): a task that counts as held out has
`neither`. A group is a mixture looked at by itself; its `accuracy` and `majority` are means over
its classification tasks.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flanmix.console import warn
from flanmix.errors import UserError

Figures = Mapping[str, float]
# What of a task the model has been trained on: the task, another task of its cluster, neither.
Seen = Literal["neither", "cluster", "task", "unknown"]
FILE = "scores.json"
FOLDER = "scores"  # in a run's folder: each evaluation's scores, by step


@dataclass(frozen=True)
class Best:
    """The template that is best on validation records.

    Attributes:
        template: its number.
        validation: its primary figure there.
        metrics: its figures on the records that are scored.
    """

    template: int
    validation: float
    metrics: Figures


@dataclass(frozen=True)
class Sample:
    """One question, what was asked for and what came; an option's text for a choice of options."""

    task: str
    template: int
    inputs: str
    target: str
    output: str
    right: bool


@dataclass(frozen=True)
class TaskScores:
    """What came out for one task.

    Attributes:
        task: its name.
        cluster: its cluster.
        kind: `classification` or `generation`.
        split: the split that was scored.
        examples: records scored, each in every template that fits it.
        primary: the key of the figure that stands for the task; empty if it has none.
        templates: figures by template number; of those whose questions can be answered, see
            `unanswerable`. A task without any has no score, and no mean takes it in.
        baseline: figures of the majority class, or of copying the input.
        trimmed: % of questions whose input was too long and was truncated.
        targets_trimmed: % of questions that have an option which was truncated, or that ask for
            more than an answer can be.
        equal_options: % of questions that have two options of the same tokens, truncated or for
            want of pieces in the vocabulary.
        unanswerable: % of questions whose right options are each the same tokens as a wrong one;
            these count as wrong.
        seen: what of it the model has been trained on.
        best: the template chosen on validation records, if that was asked for.
    """

    task: str
    cluster: str
    kind: str
    split: str
    examples: int
    primary: str
    templates: Mapping[int, Figures]
    baseline: Figures
    trimmed: float = 0.0
    targets_trimmed: float = 0.0
    equal_options: float = 0.0
    unanswerable: float = 0.0
    seen: Seen = "unknown"
    best: Best | None = None

    def mean(self, templates: Iterable[int] | None = None) -> dict[str, float]:
        """Mean over templates, all or those named, of every figure; empty without a score."""
        return self._over(np.mean, templates)

    def median(self) -> dict[str, float]:
        """Median over templates of every figure."""
        return self._over(np.median, None)

    def _over(self, function: Any, templates: Iterable[int] | None) -> dict[str, float]:
        chosen = self.templates if templates is None else templates
        rows = [self.templates[number] for number in chosen if number in self.templates]
        return {
            key: float(function([row[key] for row in rows])) for key in (rows[0] if rows else ())
        }


@dataclass(frozen=True)
class Scores:
    """One evaluation.

    Attributes:
        step: the training step of the model.
        tasks: by name.
        groups: by name, the templates of each of its tasks.
        missing: tasks that were left out because their records are not there.
        samples: some questions with their answers.
        evaluation: what a training evaluates, as it describes that; its scores are comparable where
            it is the same. Empty for scores that were asked for besides.
        texts: of plain texts, by name, what `text_score.TextScore` says of them.
    """

    step: int
    tasks: Mapping[str, TaskScores]
    groups: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    missing: Sequence[str] = ()
    samples: Sequence[Sample] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, Figures] = field(default_factory=dict)

    def clusters(self) -> dict[str, float]:
        """Mean of the primary figures of each cluster's tasks."""
        by_cluster: dict[str, list[float]] = {}
        for name, value in self._primaries().items():
            by_cluster.setdefault(self.tasks[name].cluster, []).append(value)
        return {name: float(np.mean(values)) for name, values in sorted(by_cluster.items())}

    def mean(self) -> float | None:
        """Mean of the primary figures of all tasks, each counting the same."""
        values = list(self._primaries().values())
        return float(np.mean(values)) if values else None

    def _primaries(self) -> dict[str, float]:
        return {
            name: task.mean()[task.primary]
            for name, task in self.tasks.items()
            if task.primary and task.templates
        }

    def asked(self, name: str) -> frozenset[int]:
        """The templates that a task was asked in."""
        return frozenset(n for group in self.groups.values() for n in group.get(name, ()))

    def group(self, name: str) -> dict[str, Any]:
        """Means over a group's tasks, each in the group's templates alone.

        Returns:
            `tasks` (name to figures), `mean` of the primary figures, `accuracy` and `majority` of
            its classification tasks, `templates` (name to numbers); a mean of nothing is None.
        """
        members = {task: t for task, t in self.groups[name].items() if task in self.tasks}
        figures = {task: self.tasks[task].mean(templates) for task, templates in members.items()}
        primaries = {task: self.tasks[task].primary for task in members}
        scored = [task for task in members if figures[task]]
        classes = [task for task in scored if self.tasks[task].kind == "classification"]
        return {
            "tasks": figures,
            "mean": _mean(figures[task][primaries[task]] for task in scored if primaries[task]),
            "accuracy": _mean(figures[task]["accuracy"] for task in classes),
            "majority": _mean(self.tasks[task].baseline["accuracy"] for task in classes),
            "templates": {task: list(templates) for task, templates in members.items()},
        }

    def summary(self) -> dict[str, float | None]:
        """Accuracy of every group, and the majority class's over all their classification tasks."""
        return _summary(self.to_json(), self.groups)

    def to_json(self) -> dict[str, Any]:
        """Returns what `scores.json` holds, see the module."""
        known = {"evaluation": dict(self.evaluation)} if self.evaluation else {}
        return {
            "step": self.step,
            "tasks": {name: task.mean() for name, task in self.tasks.items()},
            "clusters": self.clusters(),
            "mean": self.mean(),
            "missing": list(self.missing),
            "groups": {name: self.group(name) for name in self.groups},
            "details": {name: _details(task) for name, task in self.tasks.items()},
            "samples": [asdict(sample) for sample in self.samples],
            **known,
            **({"texts": {name: dict(f) for name, f in self.texts.items()}} if self.texts else {}),
        }


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def _details(task: TaskScores) -> dict[str, Any]:
    details = asdict(task) | {"median": task.median()}
    details["templates"] = {str(number): figures for number, figures in task.templates.items()}
    del details["task"]
    return details


def _summary(document: Mapping[str, Any], names: Iterable[str]) -> dict[str, float | None]:
    """See `Scores.summary`; of groups of an evaluation as it is written."""
    groups = {name: document["groups"][name] for name in names}
    tasks = sorted({task for group in groups.values() for task in group["tasks"]})
    details = [document["details"][name] for name in tasks]
    classes = [task for task in details if task["kind"] == "classification" and task["templates"]]
    return {
        **{name: group["accuracy"] for name, group in groups.items()},
        "majority": _mean(task["baseline"]["accuracy"] for task in classes),
    }


# ---- files -------------------------------------------------------------------------------------


def write_scores(run_dir: Path, scores: Scores) -> None:
    """Writes an evaluation into a run's folder.

    `scores/<step>.json` has all of it, and what was found of this step before: a group of the same
    name is replaced, see `merged`. `scores.json` has the last step's, and where step 0 was
    evaluated too, in the same way, also `before` and `after`, summaries of the groups that both
    have.

    Args:
        run_dir: the run's folder.
        scores: the evaluation; a file of its step that can't be read is written anew.

    Raises:
        UserError: the scores of another step can't be read.
    """
    folder = run_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        before = read_step(run_dir, scores.step)
    except UserError as error:
        warn(f"{error}; it is written anew")
        before = None
    document = scores.to_json() if before is None else merged(before, scores)
    summary = _summary(document, document["groups"])
    _write(_path(run_dir, scores.step), document | {"summary": summary})
    first, last = read_scores(run_dir)
    document = {key: value for key, value in last.items() if key != "summary"}
    if first["step"] == 0 and (both := _alike(first, last)):
        document |= {"before": _summary(first, both), "after": _summary(last, both)}
    _write(run_dir / FILE, document)


def _alike(first: Mapping[str, Any], last: Mapping[str, Any]) -> list[str]:
    """The groups that two evaluations share, if they are of the same as far as both say it."""
    made_of = [scores["evaluation"] for scores in (first, last) if "evaluation" in scores]
    same = made_of[:1] == made_of[-1:]
    return [name for name in first["groups"] if same and name in last["groups"]]


def merged(before: Mapping[str, Any], scores: Scores) -> dict[str, Any]:
    """Adds an evaluation to one of the same step, as both are written.

    A group replaces the one of its name; the others stay as they were found, but for those of an
    earlier training where this one is a training's too: its scores are of what it evaluates now.
    Of a task that both have, scored on the same records, the templates are joined, the newer
    figures first; on other records it is replaced. What belongs to no group any more is dropped.
    """
    new = scores.to_json()
    gone = _trained_groups(before) if scores.evaluation else set()
    kept = {name: group for name, group in before["groups"].items() if name not in gone}
    groups = {**kept, **new["groups"]}
    old = {
        name: _without(_task_scores(name, details), name, groups)
        for name, details in before["details"].items()
        if any(name in group["tasks"] for group in groups.values())
    }
    joined = {
        name: _joined(old.get(name), task, scores.asked(name))
        for name, task in scores.tasks.items()
    }
    tasks = {name: task for name, task in sorted({**old, **joined}.items())}
    missing = sorted({*before["missing"], *new["missing"]} - set(tasks))
    samples = [
        *(s for s in before["samples"] if s["task"] in old and s["task"] not in scores.tasks),
        *new["samples"],
    ]
    samples.sort(key=lambda sample: sample["task"])
    evaluation = scores.evaluation or before.get("evaluation", {})
    texts = {**before.get("texts", {}), **scores.texts}
    document = Scores(
        scores.step, tasks, missing=missing, evaluation=evaluation, texts=texts
    ).to_json()
    return document | {"groups": groups, "samples": samples}


def _trained_groups(document: Mapping[str, Any]) -> set[str]:
    """The groups that a training evaluated; an older flanmix wrote no others, and not which."""
    if "evaluation" in document:
        return set(document["evaluation"]["groups"])
    return {name for name, group in document["groups"].items() if "templates" not in group}


def _task_scores(name: str, details: Mapping[str, Any]) -> TaskScores:
    """A task's scores as `details` has them; an older flanmix wrote fewer fields."""
    known = {key: details[key] for key in TaskScores.__dataclass_fields__ if key in details}
    known["templates"] = {int(number): f for number, f in details["templates"].items()}
    known["best"] = Best(**details["best"]) if details["best"] else None
    return TaskScores(task=name, **known)


def _without(task: TaskScores, name: str, groups: Mapping[str, Mapping[str, Any]]) -> TaskScores:
    """The task in those templates that a group has; all where an older flanmix did not write it."""
    asked = [
        group.get("templates", {}).get(name) for group in groups.values() if name in group["tasks"]
    ]
    if None in asked:
        return task
    numbers = {number for templates in asked for number in templates}
    return replace(task, templates={n: f for n, f in task.templates.items() if n in numbers})


def _joined(old: TaskScores | None, new: TaskScores, asked: Set[int]) -> TaskScores:
    """The newer scores, with the older ones of those templates that were not asked again."""
    if old is None or (old.split, old.examples) != (new.split, new.examples):
        return new
    others = {number: f for number, f in old.templates.items() if number not in asked}
    if not others:
        return new
    shares = {
        key: (len(others) * getattr(old, key) + len(asked) * getattr(new, key))
        / (len(others) + len(asked))
        for key in ("trimmed", "targets_trimmed", "equal_options", "unanswerable")
    }
    found = [best for best in (new.best, old.best) if best is not None]
    best = max(found, key=lambda best: best.validation, default=None)
    templates = dict(sorted({**others, **new.templates}.items()))
    return replace(new, templates=templates, best=best, **shares)


def read_scores(run_dir: Path) -> list[dict[str, Any]]:
    """Returns the first and the last evaluation of a run; nothing if there is none.

    Where there is only one, it is both.

    Raises:
        UserError: one can't be read.
    """
    steps = scored_steps(run_dir)
    found = [read_step(run_dir, step) for step in ([steps[0], steps[-1]] if steps else [])]
    return [document for document in found if document is not None]


def scored_steps(run_dir: Path) -> list[int]:
    """Returns the steps of which a run has scores, in order."""
    paths = (run_dir / FOLDER).glob("*.json")
    return sorted(int(path.stem) for path in paths if path.stem.isdecimal())


def read_step(run_dir: Path, step: int) -> dict[str, Any] | None:
    """Returns the scores of one step of a run as they were written; None if there are none.

    Raises:
        UserError: they can't be read.
    """
    path = _path(run_dir, step)
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        _ = document["groups"], document["details"], document["missing"], document["samples"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} holds no scores: evaluate again") from None
    return document


def _path(run_dir: Path, step: int) -> Path:
    return run_dir / FOLDER / f"{step:09d}.json"


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never half of it."""
    partial = path.with_suffix(f".{os.getpid()}.partial")  # a run and `evaluate` may both write
    partial.write_text(json.dumps(document, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    os.replace(partial, path)
