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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

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
        templates: figures by template number.
        baseline: figures of the majority class, or of copying the input.
        trimmed: % of inputs that were too long and were truncated.
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
    seen: Seen = "unknown"
    best: Best | None = None

    def mean(self, templates: Iterable[int] | None = None) -> dict[str, float]:
        """Mean over templates, all or those named, of every figure."""
        return self._over(np.mean, templates)

    def median(self) -> dict[str, float]:
        """Median over templates of every figure."""
        return self._over(np.median, None)

    def _over(self, function: Any, templates: Iterable[int] | None) -> dict[str, float]:
        chosen = self.templates if templates is None else templates
        rows = [self.templates[number] for number in chosen if number in self.templates]
        return {key: float(function([row[key] for row in rows])) for key in rows[0]}


@dataclass(frozen=True)
class Scores:
    """One evaluation.

    Attributes:
        step: the training step of the model.
        tasks: by name.
        groups: by name, the templates of each of its tasks.
        missing: tasks that were left out because their records are not there.
        samples: some questions with their answers.
        evaluation: what was evaluated, as whoever did it describes it; scores are comparable where
            it is the same. Empty if it is not known.
    """

    step: int
    tasks: Mapping[str, TaskScores]
    groups: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    missing: Sequence[str] = ()
    samples: Sequence[Sample] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)

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
            name: task.mean()[task.primary] for name, task in self.tasks.items() if task.primary
        }

    def group(self, name: str) -> dict[str, Any]:
        """Means over a group's tasks, each in the group's templates alone.

        Returns:
            `tasks` (name to figures), `mean` of the primary figures, and `accuracy` and `majority`
            of its classification tasks; a mean of nothing is None.
        """
        members = {task: t for task, t in self.groups[name].items() if task in self.tasks}
        figures = {task: self.tasks[task].mean(templates) for task, templates in members.items()}
        primaries = {task: self.tasks[task].primary for task in members}
        classes = [task for task in members if self.tasks[task].kind == "classification"]
        return {
            "tasks": figures,
            "mean": _mean(figures[task][key] for task, key in primaries.items() if key),
            "accuracy": _mean(figures[task]["accuracy"] for task in classes),
            "majority": _mean(self.tasks[task].baseline["accuracy"] for task in classes),
        }

    def summary(self) -> dict[str, float | None]:
        """Accuracy of every group, and the majority class's over all their classification tasks."""
        names = sorted({task for group in self.groups.values() for task in group})
        tasks = [self.tasks[name] for name in names if name in self.tasks]
        classes = [task for task in tasks if task.kind == "classification"]
        accuracies = {name: self.group(name)["accuracy"] for name in self.groups}
        return {**accuracies, "majority": _mean(task.baseline["accuracy"] for task in classes)}

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
        }


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def _details(task: TaskScores) -> dict[str, Any]:
    details = asdict(task) | {"median": task.median()}
    details["templates"] = {str(number): figures for number, figures in task.templates.items()}
    del details["task"]
    return details


def write_scores(run_dir: Path, scores: Scores) -> None:
    """Writes an evaluation into a run's folder.

    `scores/<step>.json` has all of it; `scores.json` has the last step's, and where that has groups
    and step 0 was evaluated too, in the same way, also `before` and `after`, their summaries.

    Args:
        run_dir: the run's folder.
        scores: the evaluation; one of the same step is replaced.
    """
    folder = run_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{scores.step:09d}.json", scores.to_json() | {"summary": scores.summary()})
    first, last = read_scores(run_dir)
    document = {key: value for key, value in last.items() if key != "summary"}
    if last["groups"] and first["step"] == 0 and _alike(first, last):
        document |= {"before": first["summary"], "after": last["summary"]}
    _write(run_dir / FILE, document)


def _alike(first: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    """Whether two evaluations are of the same, as far as both say it."""
    made_of = [scores["evaluation"] for scores in (first, last) if "evaluation" in scores]
    return first["groups"].keys() == last["groups"].keys() and made_of[:1] == made_of[-1:]


def read_scores(run_dir: Path) -> list[dict[str, Any]]:
    """Returns the first and the last evaluation of a run; nothing if there is none.

    Where there is only one, it is both.
    """
    paths = sorted((run_dir / FOLDER).glob("*.json"))
    ends = [paths[0], paths[-1]] if paths else []
    return [json.loads(path.read_text(encoding="utf-8")) for path in ends]


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never half of it."""
    partial = path.with_suffix(f".{os.getpid()}.partial")  # a run and `evaluate` may both write
    partial.write_text(json.dumps(document, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    os.replace(partial, path)
