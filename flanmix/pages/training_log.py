"""What `metrics.jsonl` says of a training: curves and totals.

    read_log(Path("runs/a/metrics.jsonl"), shape=(16, 144, 24)).loss
    ->  Line("loss", [(1.0, 7.42), (2.0, 5.61), ...])

The losses of a long run are averaged over intervals of steps while they are read, so that its
report stays small. The file has no clock but a step's tokens a second; with the batch's shape that
gives the tokens of a step, and so its seconds. What is between steps (evaluations, checkpoints) is
not in them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flanmix.pages.charts import Line, Point

_INTERVALS = 160  # points of a line


@dataclass(frozen=True)
class TrainingLog:
    """What was trained.

    Attributes:
        steps: the last training step.
        loss: the mean over target tokens, by step.
        tasks: the same for each task, those with the most target tokens first.
        rate: the learning rate by step; None in a file without it.
        peak: the highest learning rate; 0 in a file without it.
        target_tokens: how many bore loss.
        tokens: all of them, inputs too; None where the batch's shape is not known.
        seconds: what the steps took; None where the tokens are not known.
        speed: the median of the steps' tokens a second; None in a file without it.
        examples: how many were seen; 0 in a file that does not count them, as below.
        inputs_cut: how many of them had their input truncated.
        targets_cut: how many of them had their target truncated.
    """

    steps: int
    loss: Line
    tasks: tuple[Line, ...]
    rate: Line | None
    peak: float
    target_tokens: int
    tokens: int | None
    seconds: float | None
    speed: float | None
    examples: int
    inputs_cut: int
    targets_cut: int


@dataclass
class _Means:
    """The weighted mean of a figure over each interval of steps."""

    figures: dict[int, float] = field(default_factory=dict)
    weights: dict[int, float] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)

    def add(self, interval: int, step: int, figure: float, weight: float) -> None:
        self.figures[interval] = self.figures.get(interval, 0.0) + figure * weight
        self.weights[interval] = self.weights.get(interval, 0) + weight
        self.steps[interval] = self.steps.get(interval, 0.0) + step * weight

    def points(self) -> list[Point]:
        """The mean of each interval, at the mean of its steps."""
        return [
            (self.steps[i] / weight, self.figures[i] / weight)
            for i, weight in sorted(self.weights.items())
            if weight
        ]


@dataclass
class _Totals:
    """Sums over the steps; `tokens` and `seconds` are of those that say their tokens a second."""

    target_tokens: int = 0
    examples: int = 0
    inputs_cut: int = 0
    targets_cut: int = 0
    peak: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0
    speeds: list[float] = field(default_factory=list)

    def add(self, entry: dict[str, Any], shape: tuple[int, int, int] | None) -> None:
        self.target_tokens += entry["target_tokens"]
        self.examples += entry.get("examples", 0)
        self.inputs_cut += entry.get("inputs_trimmed", 0)
        self.targets_cut += entry.get("targets_trimmed", 0)
        self.peak = max(self.peak, entry.get("learning_rate", 0.0))
        if speed := entry.get("tokens_per_second"):
            self.speeds.append(speed)
            tokens = _tokens(entry, shape) if shape else 0.0
            self.tokens += tokens
            self.seconds += tokens / speed


def read_log(path: Path, shape: tuple[int, int, int] | None) -> TrainingLog | None:
    """Reads a file; None if no step is in it.

    Args:
        path: the file; may be absent.
        shape: rows of a batch, tokens of a row's inputs and of its targets; None if not known.
    """
    last = max((entry["step"] for entry in _lines(path)), default=0) if path.is_file() else 0
    if not last:
        return None
    loss, rate, by_task, totals = _Means(), _Means(), {}, _Totals()
    for entry in _lines(path):
        step = entry["step"]
        interval = (step - 1) * _INTERVALS // last
        totals.add(entry, shape)
        loss.add(interval, step, entry["loss"], entry["target_tokens"])
        if "learning_rate" in entry:
            rate.add(interval, step, entry["learning_rate"], 1)
        for name, sums in entry.get("tasks", {}).items():
            own = by_task.setdefault(name, _Means())
            own.add(interval, step, sums["loss"], sums["target_tokens"])
    order = sorted(by_task, key=lambda name: (-sum(by_task[name].weights.values()), name))
    tasks = (Line(name, by_task[name].points()) for name in order)
    rates = rate.points()
    return TrainingLog(
        steps=last,
        loss=Line("loss", loss.points()),
        tasks=tuple(line for line in tasks if line.points),
        rate=Line("learning rate", rates) if rates else None,
        peak=totals.peak,
        target_tokens=totals.target_tokens,
        tokens=round(totals.tokens) or None,
        seconds=totals.seconds or None,
        speed=sorted(totals.speeds)[len(totals.speeds) // 2] if totals.speeds else None,
        examples=totals.examples,
        inputs_cut=totals.inputs_cut,
        targets_cut=totals.targets_cut,
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The training lines; a last one that a killed run left unfinished is skipped."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n") and "loss" in (entry := json.loads(line)):
                yield entry


def _tokens(entry: dict[str, Any], shape: tuple[int, int, int]) -> float:
    """The tokens of a step's batch: its positions, without the padding."""
    rows, inputs, targets = shape
    if "encoder_fill" in entry:
        filled = entry["encoder_fill"] * inputs + entry.get("decoder_fill", 0.0) * targets
    else:  # a decoder's row has both
        filled = entry.get("decoder_fill", 0.0) * (inputs + targets)
    return rows * filled
