r"""The report of a run: what its page shows, and the page itself.

    write_report(Path("runs/a"))  ->  Path("runs/a/report.html")
    view(read_run(Path("runs/a"))).headline[0]
    ->  Headline("steps", "700")

The page begins with few figures: steps, loss, each group's score, what was truncated. Curves follow
(loss, scores, learning rate), scores by group and cluster beside the majority class, the run's
facts, what was truncated by task, the loss by task, every task in every template, and samples.
All text of records and models is escaped by the template; what is not printable is shown as `\x00`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flanmix.console import printable
from flanmix.pages.charts import (
    PERCENT,
    Bar,
    BarChart,
    Line,
    LineChart,
    Series,
    SmallLines,
    bar_chart,
    line_chart,
    small_multiples,
)
from flanmix.pages.rendering import render, write_page
from flanmix.pages.run_summary import RunSummary, group_score, read_run
from flanmix.pages.score_table import ScoreTable, earlier, score_table

_MOST_TASKS = 60  # small charts on a page
_MOST_SAMPLES = 120
_MOST_HEADLINES = 4  # groups among the figures that say most


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
class Headline:
    """A figure that says most of a run, and what to read it against."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class ReportView:
    """What the page shows; None or empty where a run has no such thing.

    Attributes:
        name: the run's folder.
        headline: the few figures that say most.
        facts: name and value of the settings, and of what was measured.
        scored: whether there is an evaluation.
        groups: accuracy by group.
        clusters: the mean of the tasks' primary metrics by cluster.
        missing: the tasks that were not scored because they are not prepared.
        loss: the training loss.
        scores: the score of each group, and of all tasks, by step.
        cluster_scores: the score of each cluster by step.
        rate: the learning rate.
        cut: the tasks of which something is truncated, with what share of inputs and targets.
        task_losses: the training loss by task.
        trained_tasks: how many tasks have a loss; more than are in `task_losses` if they are many.
        table: the scores of every task in every template.
        samples: questions, with what was asked for and what came.
        configuration: the text of `config.gin`.
    """

    name: str
    headline: tuple[Headline, ...]
    facts: tuple[tuple[str, str], ...]
    scored: bool
    groups: BarChart | None
    clusters: BarChart | None
    missing: tuple[str, ...]
    loss: LineChart | None
    scores: LineChart | None
    cluster_scores: SmallLines | None
    rate: LineChart | None
    cut: BarChart | None
    task_losses: SmallLines | None
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
    return write_page(page(read_run(run_dir)), html or run_dir / "report.html")


def page(run: RunSummary) -> str:
    """Returns the HTML page of a run."""
    return render("report.html.j2", report=view(run))


def view(run: RunSummary) -> ReportView:
    """Returns what the page of a run shows."""
    last, log = run.last, run.log
    tasks = sorted(log.tasks[:_MOST_TASKS], key=lambda line: line.name) if log else []
    steps = (0, max(log.steps if log else 0, last["step"] if last else 0))
    scored = [("tasks scored", str(len(last["tasks"])))] if last else []
    return ReportView(
        name=run.name,
        headline=tuple(_headline(run)),
        facts=(*run.settings, *run.measures, *scored),
        scored=last is not None,
        groups=_groups(run.first, last) if last else None,
        clusters=_clusters(run.first, last) if last else None,
        missing=tuple(last["missing"]) if last else (),
        loss=line_chart([log.loss], steps) if log else None,
        scores=line_chart(run.curves, steps, marks=PERCENT) if _grew(run.curves) else None,
        cluster_scores=(
            small_multiples(run.clusters, steps, top=PERCENT[-1]) if _grew(run.clusters) else None
        ),
        rate=line_chart([log.rate], steps) if log and log.rate else None,
        cut=_cut(run),
        task_losses=small_multiples(tasks, steps) if tasks else None,
        trained_tasks=len(log.tasks) if log else 0,
        table=score_table(run.first, last) if last else None,
        samples=_samples(run.first, last) if last else (),
        configuration=run.configuration,
    )


def _grew(lines: Sequence[Line]) -> bool:
    """Whether there is more than one evaluation to draw a line through."""
    return any(len(line.points) > 1 for line in lines)


def _headline(run: RunSummary) -> Iterator[Headline]:
    if (log := run.log) is not None:
        begin, end = log.loss.points[0][1], log.loss.points[-1][1]
        yield Headline("steps", f"{log.steps:,}")
        yield Headline("training loss", f"{end:.3f}", f"from {begin:.3f}")
    if run.last is not None:
        yield from _headline_scores(run.first, run.last)
        yield from _headline_texts(run.first, run.last)
    if log is not None and log.examples:
        inputs, targets = (100 * cut / log.examples for cut in (log.inputs_cut, log.targets_cut))
        yield Headline("inputs truncated", f"{inputs:.1f}%", f"targets {targets:.1f}%")


def _headline_texts(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> Iterator[Headline]:
    """Bits per byte of plain texts: what was forgotten of language."""
    for name, text in last.get("texts", {}).items():
        before = first.get("texts", {}).get(name) if first else None
        note = f"{earlier(first)} {before['bits_per_byte']:.3f}" if before else ""
        yield Headline(f"bits per byte, {name}", f"{text['bits_per_byte']:.3f}", note)


def _headline_scores(
    first: Mapping[str, Any] | None, last: Mapping[str, Any]
) -> Iterator[Headline]:
    scores = {name: group_score(group) for name, group in last["groups"].items()}
    if not 0 < len(scores) <= _MOST_HEADLINES:
        if (mean := last.get("mean")) is not None:
            before = first.get("mean") if first else None
            yield Headline("mean score", f"{mean:.1f}", _against(first, before, None))
        return
    for name, score in scores.items():
        before = first["groups"].get(name) if first else None
        note = _against(
            first, group_score(before) if before else None, last["groups"][name]["majority"]
        )
        if score is not None:
            yield Headline(name.replace("_", " "), f"{score:.1f}", note)


def _against(first: Mapping[str, Any] | None, before: float | None, majority: float | None) -> str:
    notes = [] if before is None else [f"{earlier(first)} {before:.1f}"]
    notes += [] if majority is None else [f"majority {majority:.1f}"]
    return ", ".join(notes)


def _cut(run: RunSummary) -> BarChart | None:
    bars = [
        Bar(task, tuple(100 * share for share in shares))
        for task, shares in [*run.truncation.items()][:_MOST_TASKS]
    ]
    series = [Series("examples", "inputs truncated"), Series("loss", "targets truncated")]
    return bar_chart(bars, series) if bars else None


# ---- scores ------------------------------------------------------------------------------------


def _series(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> tuple[Series, Series]:
    return Series("before", earlier(first)), Series("after", f"after step {last['step']:,}")


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


# ---- samples -----------------------------------------------------------------------------------


def _samples(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> tuple[TaskSamples, ...]:
    """Questions with what was asked for and what came, task by task."""
    samples = first["samples"] if first else []
    before = {(s["task"], s["template"], s["inputs"]): s["output"] for s in samples}
    by_task: dict[str, list[tuple[SampleLine, ...]]] = {}
    for sample in last["samples"][:_MOST_SAMPLES]:
        asked = (sample["task"], sample["template"], sample["inputs"])
        lines = _sample(sample, before.get(asked), earlier(first))
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


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
