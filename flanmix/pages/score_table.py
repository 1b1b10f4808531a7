"""The table of a report: every task in every template, beside what sums them up.

score_table(first, last).rows[0]
->  ScoreRow("rte", "nli · accuracy", figures=(50.2, 48.0, 61.5, 60.9), cells=(...))
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Said of a task by what the model has been trained on (flanmix/evaluate/scores.py: Seen).
_SEEN = {
    "neither": "held out: cluster not seen in training",
    "cluster": "held out: only its cluster seen in training",
    "task": "",
    "unknown": "seen in pretraining: unknown",
}

# Said of a task where the share is not 0 (flanmix/evaluate/scores.py: TaskScores).
_LOSSES = {
    "trimmed": "inputs truncated",
    "targets_trimmed": "questions with an option or answer truncated",
    "equal_options": "questions with two options of the same tokens",
    "unanswerable": "questions without an answer for that, counted as wrong",
}


@dataclass(frozen=True)
class Cell:
    """A task's score in one template.

    Attributes:
        value: the score, None where the template was not scored.
        shade: how deep the cell is shaded, 0 to 1; None where the figure is no percentage.
        best: whether the template is the best on validation records.
    """

    value: float | None
    shade: float | None
    best: bool


@dataclass(frozen=True)
class ScoreRow:
    """A task's row: its figures in the order of the table's columns, then a cell a template."""

    name: str
    label: str
    figures: tuple[float | None, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ScoreTable:
    """Every task in every template; `with_best` if a best template was chosen."""

    columns: tuple[str, ...]
    templates: tuple[int, ...]
    with_best: bool
    rows: tuple[ScoreRow, ...]


def score_table(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> ScoreTable:
    """Returns the table of the last evaluation, with the first one's means if there is one."""
    details = last["details"]
    templates = sorted({int(number) for task in details.values() for number in task["templates"]})
    with_best = any(task["best"] for task in details.values())
    rows = []
    for name, task in sorted(details.items(), key=lambda item: (item[1]["cluster"], item[0])):
        before = first["tasks"].get(name, {}) if first else None
        rows.append(_row(name, task, last["tasks"][name], before, with_best, templates))
    names = ["baseline", *([earlier(first)] if first else []), "mean", "median"]
    columns = (*names, *(["best"] if with_best else []))
    return ScoreTable(columns, tuple(templates), with_best, tuple(rows))


def _row(
    name: str,
    task: Mapping[str, Any],
    mean: Mapping[str, float],
    before: Mapping[str, float] | None,
    with_best: bool,
    templates: Iterable[int],
) -> ScoreRow:
    key = task["primary"] or next(iter(mean), "")
    best = task["best"]
    figures = [task["baseline"].get(key), *([] if before is None else [before.get(key)])]
    figures += [mean.get(key), task["median"].get(key)]  # a task that can't be scored has none
    if with_best:
        figures.append(best["metrics"][key] if best else None)
    cells = []
    for number in templates:
        value = task["templates"].get(str(number), {}).get(key)
        shaded = value is not None and task["primary"]
        shade = min(1.0, max(0.0, value / 100)) if shaded else None
        cells.append(Cell(value, shade, bool(best) and best["template"] == number))
    label = [task["cluster"].replace("_", " "), key, _SEEN[task["seen"] or "neither"]]
    for share, what in _LOSSES.items():
        if task.get(share):
            label.append(f"{task[share]:.3g}% of {what}")
    return ScoreRow(name, " · ".join(filter(None, label)), tuple(figures), tuple(cells))


def earlier(first: Mapping[str, Any] | None) -> str:
    """What the first evaluation is called: `before` if it came before the first step."""
    return f"step {first['step']:,}" if first and first["step"] else "before"
