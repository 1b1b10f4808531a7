"""What a run did, summed up from the files that it left, and its page.

    write_report(Path("runs/a"))  ->  Path("runs/a/report.html")

The page shows the run's facts, its scores before and after by group and cluster beside the majority
class, the loss overall and by task, every task in every template, and samples. It reads what the
run left: `metrics.jsonl`, `scores/`, `config.gin`. A long run's losses are averaged over stretches
of steps while they are read, so that the page stays small.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flanmix.errors import UserError
from flanmix.evaluate.scores import read_scores
from flanmix.pages.charts import Line, Point
from flanmix.pages.report import page
from flanmix.train.events import FILE as METRICS

_STRETCHES = 160  # points of a line


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        name: the run's folder.
        steps: the last training step.
        loss: the mean over target tokens, by step; None if nothing was trained.
        tasks: the same for each task, those with the most target tokens first.
        facts: name and value of what sums the run up.
        first: the first evaluation as `scores/` has it, or None if there is but one.
        last: the last evaluation, or None.
        configuration: the text of `config.gin`.
    """

    name: str
    steps: int
    loss: Line | None
    tasks: tuple[Line, ...]
    facts: tuple[tuple[str, str], ...]
    first: dict[str, Any] | None
    last: dict[str, Any] | None
    configuration: str


@dataclass
class _Sums:
    """Loss and target tokens of each stretch of steps."""

    loss: dict[int, float] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)

    def add(self, stretch: int, step: int, loss: float, tokens: int) -> None:
        self.loss[stretch] = self.loss.get(stretch, 0.0) + loss * tokens
        self.tokens[stretch] = self.tokens.get(stretch, 0) + tokens
        self.steps[stretch] = self.steps.get(stretch, 0.0) + step * tokens

    def points(self) -> list[Point]:
        """The mean loss of each stretch, at the mean of its steps."""
        return [
            (self.steps[i] / tokens, self.loss[i] / tokens)
            for i, tokens in sorted(self.tokens.items())
            if tokens
        ]


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


def read_run(run_dir: Path) -> Report:
    """Reads what a run's folder holds.

    Raises:
        UserError: if it holds no run.
    """
    evaluations = read_scores(run_dir)
    path = run_dir / METRICS
    if not evaluations and not path.is_file():
        raise UserError(f"{run_dir} holds no run: neither {METRICS} nor scores/ is there")
    steps, loss, tasks, facts = _losses(path)
    config = run_dir / "config.gin"
    configuration = config.read_text(encoding="utf-8") if config.is_file() else ""
    first, last = evaluations or (None, None)
    return Report(
        name=run_dir.absolute().name,
        steps=steps,
        loss=loss,
        tasks=tasks,
        facts=(*_settings(configuration), *facts),
        first=first if first != last else None,
        last=last,
        configuration=configuration,
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The training lines; one that a killed run has not finished is left out."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n") and "loss" in (entry := json.loads(line)):
                yield entry


def _losses(path: Path) -> tuple[int, Line | None, tuple[Line, ...], list[tuple[str, str]]]:
    """Returns the last step, the loss overall and by task, and facts about the training."""
    last = max((entry["step"] for entry in _lines(path)), default=0) if path.is_file() else 0
    if not last:
        return 0, None, (), []
    overall, by_task, speeds = _Sums(), {}, []
    for entry in _lines(path):
        stretch = (entry["step"] - 1) * _STRETCHES // last
        overall.add(stretch, entry["step"], entry["loss"], entry["target_tokens"])
        if "tokens_per_second" in entry:
            speeds.append(entry["tokens_per_second"])
        for name, sums in entry.get("tasks", {}).items():
            own = by_task.setdefault(name, _Sums())
            own.add(stretch, entry["step"], sums["loss"], sums["target_tokens"])
    line = Line("loss", overall.points())
    order = sorted(by_task, key=lambda name: (-sum(by_task[name].tokens.values()), name))
    facts = [
        ("steps", f"{last:,}"),
        ("target tokens", f"{sum(overall.tokens.values()):,}"),
        ("loss at the end", f"{line.points[-1][1]:.3f}"),
    ]
    if speeds:
        facts.append(("tokens a second", f"{sorted(speeds)[len(speeds) // 2]:,.0f}"))
    tasks = (Line(name, by_task[name].points()) for name in order)
    return last, line, tuple(own for own in tasks if own.points), facts


def _settings(configuration: str) -> list[tuple[str, str]]:
    """The macros of the configuration that say most."""
    macros = dict(re.findall(r"^([A-Z_]+) = (.+)$", configuration, flags=re.MULTILINE))
    shown = ("MIXTURE", "MODEL", "VOCABULARY", "BATCH_SIZE", "INPUTS_LENGTH", "TARGETS_LENGTH")
    return [
        (name.lower().replace("_", " "), macros[name].strip("'@()"))
        for name in shown
        if name in macros
    ]
