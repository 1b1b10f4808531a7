r"""The report of a run: what its page shows, and the page itself.

    write_report(Path("runs/a"))  ->  Path("runs/a/report.html")
    view(read_run(Path("runs/a"))).table.rows[0]
    ->  ScoreRow("rte", "nli · accuracy", figures=(50.2, 48.0, 61.5, 60.9), cells=(...))

The page shows the run's facts, its scores before and after by group and cluster beside the majority
class, the loss overall and by task, every task in every template, and samples. All text of records
and models is escaped by the template; what is not printable is shown as `\x00`.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flanmix.console import printable
from flanmix.errors import UserError
from flanmix.pages.charts import (
    Bar,
    BarChart,
    LineChart,
    Series,
    SmallLine,
    bar_chart,
    line_chart,
    small_multiples,
)
from flanmix.pages.rendering import render
from flanmix.pages.run_summary import RunSummary, read_run

_MOST_TASKS = 60  # small charts on a page
_MOST_SAMPLES = 120

# Said of a task by what the model has been trained on (flanmix/evaluate/scores.py: Seen).
_SEEN = {
    "neither": "held out: cluster not seen in training",
    "cluster": "held out: only its cluster seen in training",
    "task": "",
    "unknown": "",
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


@dataclass(frozen=True)
class SampleLine:
    """A labelled text of a sample; `kind` is its class in style.css, or empty."""

    label: str
    kind: str
    text: str


@dataclass(frozen=True)
class TaskSamples:
    """The samples of one task."""

    task: str
    samples: tuple[tuple[SampleLine, ...], ...]


@dataclass(frozen=True)
class ReportView:
    """What the page shows; None or empty where a run has no such thing.

    Attributes:
        name: the run's folder.
        facts: name and value of what sums the run up.
        scored: whether there is an evaluation.
        groups: accuracy by group.
        clusters: the mean of the tasks' primary metrics by cluster.
        missing: the tasks that were not scored because they are not prepared.
        loss: the training loss.
        task_losses: the training loss by task.
        trained_tasks: how many tasks have a loss; more than are in `task_losses` if they are many.
        table: the scores of every task in every template.
        samples: questions, with what was asked for and what came.
        configuration: the text of `config.gin`.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    scored: bool
    groups: BarChart | None
    clusters: BarChart | None
    missing: tuple[str, ...]
    loss: LineChart | None
    task_losses: tuple[SmallLine, ...]
    trained_tasks: int
    table: ScoreTable | None
    samples: tuple[TaskSamples, ...]
    configuration: str


def write_report(run_dir: Path, html: Path | None = None) -> Path:
    """Writes a run's page and returns its path.

    Args:
        run_dir: the run's folder.
        html: where to write; `report.html` in the run's folder if not given.

    Raises:
        UserError: if the folder holds no run, or the page can't be written.
    """
    path = html or run_dir / "report.html"
    text = page(read_run(run_dir))
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"the report {path} can't be written: {error.strerror}") from error
    return path


def page(run: RunSummary) -> str:
    """Returns the HTML page of a run."""
    return render("report.html.j2", report=view(run))


def view(run: RunSummary) -> ReportView:
    """Returns what the page of a run shows."""
    last = run.last
    shown = sorted(run.tasks[:_MOST_TASKS], key=lambda line: line.name)
    steps = (0, run.steps)
    return ReportView(
        name=run.name,
        facts=(*run.facts, *([("tasks scored", str(len(last["tasks"])))] if last else [])),
        scored=last is not None,
        groups=_groups(run.first, last) if last else None,
        clusters=_clusters(run.first, last) if last else None,
        missing=tuple(last["missing"]) if last else (),
        loss=line_chart(run.loss, steps) if run.loss else None,
        task_losses=small_multiples(shown, steps) if run.loss and shown else (),
        trained_tasks=len(run.tasks),
        table=_table(run.first, last) if last else None,
        samples=_samples(run.first, last) if last else (),
        configuration=run.configuration,
    )


# ---- scores ------------------------------------------------------------------------------------


def _series(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> tuple[Series, Series]:
    return Series("before", _earlier(first)), Series("after", f"after step {last['step']:,}")


def _groups(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> BarChart | None:
    bars = [
        Bar(
            name.replace("_", " "),
            (
                first["groups"].get(name, {}).get("accuracy") if first else None,
                group["accuracy"],
            ),
            group["majority"],
        )
        for name, group in last["groups"].items()
        if group["accuracy"] is not None
    ]
    return bar_chart(bars, _series(first, last), "majority class") if bars else None


def _clusters(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> BarChart | None:
    baselines: dict[str, list[float]] = {}
    for task in last["details"].values():
        value = task["baseline"].get(task["primary"])
        baselines.setdefault(task["cluster"], []).extend([] if value is None else [value])
    counts = {c: sum(t["cluster"] == c for t in last["details"].values()) for c in baselines}
    bars = [
        Bar(
            cluster.replace("_", " "),
            (first["clusters"].get(cluster) if first else None, after),
            _mean(baselines[cluster]),
            f"{counts[cluster]} task{'s' if counts[cluster] > 1 else ''}",
        )
        for cluster, after in last["clusters"].items()
    ]
    named = "majority class; for generation, copying the input"
    return bar_chart(bars, _series(first, last), named) if bars else None


def _table(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> ScoreTable:
    details = last["details"]
    templates = sorted({int(number) for task in details.values() for number in task["templates"]})
    with_best = any(task["best"] for task in details.values())
    rows = []
    for name, task in sorted(details.items(), key=lambda item: (item[1]["cluster"], item[0])):
        before = first["tasks"].get(name, {}) if first else None
        rows.append(_row(name, task, last["tasks"][name], before, with_best, templates))
    names = ["baseline", *([_earlier(first)] if first else []), "mean", "median"]
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
    key = task["primary"] or next(iter(mean))
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


# ---- samples -----------------------------------------------------------------------------------


def _samples(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> tuple[TaskSamples, ...]:
    """Questions with what was asked for and what came, task by task."""
    samples = first["samples"] if first else []
    before = {(s["task"], s["template"], s["inputs"]): s["output"] for s in samples}
    by_task: dict[str, list[tuple[SampleLine, ...]]] = {}
    for sample in last["samples"][:_MOST_SAMPLES]:
        asked = (sample["task"], sample["template"], sample["inputs"])
        lines = _sample(sample, before.get(asked), _earlier(first))
        by_task.setdefault(sample["task"], []).append(lines)
    return tuple(TaskSamples(task, tuple(lines)) for task, lines in sorted(by_task.items()))


def _sample(sample: Mapping[str, Any], before: str | None, earlier: str) -> tuple[SampleLine, ...]:
    right = sample["right"]
    lines = [
        (f"template {sample['template']}", "prompt", sample["inputs"]),
        ("target", "", sample["target"]),
        *([] if before is None else [(earlier, "", before)]),
        (f"output {'✓' if right else '✗'}", "right" if right else "wrong", sample["output"]),
    ]
    return tuple(SampleLine(label, kind, printable(text)) for label, kind, text in lines)


def _earlier(first: Mapping[str, Any] | None) -> str:
    """What the first evaluation is called: `before` if it came before the first step."""
    return f"step {first['step']:,}" if first and first["step"] else "before"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
