"""What a run did, summed up from the files that it left.

    read_run(Path("runs/a")).facts
    ->  (("mixture", "rainy_days"), ("model", "T5Config"), ..., ("steps", "700"), ...)

It reads `metrics.jsonl`, `scores/` and `config.gin`. The losses of a long run are averaged over
intervals of steps while they are read, so that its report stays small.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flanmix.errors import UserError
from flanmix.evaluate.scores import read_scores
from flanmix.pages.charts import Line, Point
from flanmix.train.files import CONFIG, METRICS

_INTERVALS = 160  # points of a line


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

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
    """Loss and target tokens of each interval of steps."""

    loss: dict[int, float] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)

    def add(self, interval: int, step: int, loss: float, tokens: int) -> None:
        self.loss[interval] = self.loss.get(interval, 0.0) + loss * tokens
        self.tokens[interval] = self.tokens.get(interval, 0) + tokens
        self.steps[interval] = self.steps.get(interval, 0.0) + step * tokens

    def points(self) -> list[Point]:
        """The mean loss of each interval, at the mean of its steps."""
        return [
            (self.steps[i] / tokens, self.loss[i] / tokens)
            for i, tokens in sorted(self.tokens.items())
            if tokens
        ]


def read_run(run_dir: Path) -> RunSummary:
    """Reads what a run's folder holds.

    Raises:
        UserError: if it holds no run.
    """
    evaluations = read_scores(run_dir)
    path = run_dir / METRICS
    if not evaluations and not path.is_file():
        raise UserError(f"{run_dir} holds no run: neither {METRICS} nor scores/ is there")
    steps, loss, tasks, facts = _losses(path)
    config = run_dir / CONFIG
    configuration = config.read_text(encoding="utf-8") if config.is_file() else ""
    first, last = evaluations or (None, None)
    return RunSummary(
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
    """The training lines; a last one that a killed run left unfinished is skipped."""
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
        interval = (entry["step"] - 1) * _INTERVALS // last
        overall.add(interval, entry["step"], entry["loss"], entry["target_tokens"])
        if "tokens_per_second" in entry:
            speeds.append(entry["tokens_per_second"])
        for name, sums in entry.get("tasks", {}).items():
            own = by_task.setdefault(name, _Sums())
            own.add(interval, entry["step"], sums["loss"], sums["target_tokens"])
    line = Line("loss", overall.points())
    order = sorted(by_task, key=lambda name: (-sum(by_task[name].tokens.values()), name))
    facts = [
        ("steps", f"{last:,}"),
        ("target tokens", f"{sum(overall.tokens.values()):,}"),
        ("loss at the end", f"{line.points[-1][1]:.3f}"),
    ]
    if speeds:
        facts.append(("tokens per second", f"{sorted(speeds)[len(speeds) // 2]:,.0f}"))
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
