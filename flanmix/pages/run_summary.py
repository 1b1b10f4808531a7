"""What a run did, summed up from the files that it left.

    run = read_run(Path("runs/a"))
    run.settings  ->  (("mixture", "rainy_days"), ("model", "T5Config"), ...)
    run.measures  ->  (("parameters", "926,848"), ("steps", "700"), ("tokens", "1,742,200"), ...)

It reads `metrics.jsonl`, `scores/`, `config.gin`, `truncation.json` where that is there, and of the
newest checkpoint what it says of its arrays.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flanmix.errors import UserError
from flanmix.evaluate.scores import FOLDER
from flanmix.pages.charts import Line
from flanmix.pages.training_log import TrainingLog, read_log
from flanmix.train.files import CHECKPOINTS, CONFIG, METRICS, TRUNCATION

_SETTINGS = ("MIXTURE", "MODEL", "VOCABULARY", "BATCH_SIZE", "INPUTS_LENGTH", "TARGETS_LENGTH")


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes:
        name: the run's folder.
        folder: where it is.
        log: what was trained; None if nothing was.
        settings: name and value of the settings that say most.
        measures: name and value of what sums the training up.
        first: the first evaluation as `scores/` has it, or None if there is but one.
        last: the last evaluation, or None.
        curves: of each group, and of all tasks ("all tasks"), the score by step.
        clusters: of each cluster, the score by step.
        truncation: task -> shares of its inputs and targets that are truncated, 0 to 1.
        configuration: the text of `config.gin`.
    """

    name: str
    folder: Path
    log: TrainingLog | None
    settings: tuple[tuple[str, str], ...]
    measures: tuple[tuple[str, str], ...]
    first: dict[str, Any] | None
    last: dict[str, Any] | None
    curves: tuple[Line, ...]
    clusters: tuple[Line, ...]
    truncation: Mapping[str, tuple[float, float]]
    configuration: str


def read_run(run_dir: Path) -> RunSummary:
    """Reads what a run's folder holds.

    Raises:
        UserError: if it holds no run.
    """
    paths = sorted(p for p in (run_dir / FOLDER).glob("*.json") if p.stem.isdecimal())
    if not paths and not (run_dir / METRICS).is_file():
        raise UserError(f"{run_dir} holds no run: neither {METRICS} nor scores/ is there")
    evaluations = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    config = run_dir / CONFIG
    configuration = config.read_text(encoding="utf-8") if config.is_file() else ""
    bound = bindings(configuration)
    log = read_log(run_dir / METRICS, _shape(bound))
    return RunSummary(
        name=run_dir.absolute().name,
        folder=run_dir,
        log=log,
        settings=tuple(_settings(bound)),
        measures=tuple(_measures(log, _parameters(run_dir))),
        first=evaluations[0] if len(evaluations) > 1 else None,
        last=evaluations[-1] if evaluations else None,
        curves=tuple(_curves(evaluations)),
        clusters=tuple(_lines(evaluations, lambda scores: scores["clusters"])),
        truncation=_truncation(run_dir / TRUNCATION),
        configuration=configuration,
    )


# ---- the configuration -------------------------------------------------------------------------


def bindings(configuration: str) -> dict[str, str]:
    """Returns gin name -> value of a gin file, as it is written there, on one line."""
    joined = re.sub(
        r"[ \t]*\\?\n[ \t]+", " ", re.sub(r"^#.*\n", "\n", configuration, flags=re.MULTILINE)
    )
    return dict(re.findall(r"^([\w./:]+) = (.+)$", joined, flags=re.MULTILINE))


def _settings(bound: Mapping[str, str]) -> list[tuple[str, str]]:
    """The settings that say most, and what makes the learning rate."""
    shown: list[tuple[str, str]] = [
        (name.lower().replace("_", " "), bound[name].strip("'@()"))
        for name in _SETTINGS
        if name in bound
    ]
    kind, warmup = bound.get("Schedule.kind"), bound.get("Schedule.warmup", "0")
    if kind is not None:
        after = f", warmup {warmup}" if warmup.isdecimal() and int(warmup) else ""
        shown.append(("schedule", kind.strip("'") + after))
    if optimizer := bound.get("TrainConfig.optimizer"):
        shown.append(("optimizer", optimizer.strip("@()")))
    return shown


def _shape(bound: Mapping[str, str]) -> tuple[int, int, int] | None:
    sizes = [bound.get(name, "") for name in ("BATCH_SIZE", "INPUTS_LENGTH", "TARGETS_LENGTH")]
    if not all(size.isdecimal() for size in sizes):
        return None
    rows, inputs, targets = map(int, sizes)
    return rows, inputs, targets


# ---- the training ------------------------------------------------------------------------------


def _measures(log: TrainingLog | None, parameters: int | None) -> list[tuple[str, str]]:
    measures = [("parameters", f"{parameters:,}")] if parameters else []
    if log is None:
        return measures
    measures.append(("steps", f"{log.steps:,}"))
    measures.append(("loss at the end", f"{log.loss.points[-1][1]:.3f}"))
    if log.peak:
        measures.append(("learning rate, peak", f"{log.peak:.3g}"))
    if log.tokens:
        measures.append(("tokens", f"{log.tokens:,}"))
    measures.append(("target tokens", f"{log.target_tokens:,}"))
    if log.seconds:
        measures.append(("duration without evaluations", duration(log.seconds)))
    if log.speed:
        measures.append(("tokens per second", f"{log.speed:,.0f}"))
    if log.examples:
        measures.append(("examples", f"{log.examples:,}"))
        measures.append(("inputs truncated", f"{100 * log.inputs_cut / log.examples:.1f}%"))
        measures.append(("targets truncated", f"{100 * log.targets_cut / log.examples:.1f}%"))
    return measures


def duration(seconds: float) -> str:
    """Seconds in words of two units at most: `48 s`, `3 min`, `2 h 5 min`, `3 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    days, rest = divmod(hours, 24)
    return f"{days} d {rest} h" if hours >= 48 else f"{hours} h {minutes} min"


def _parameters(run_dir: Path) -> int | None:
    """The number of parameters, by the newest checkpoint that says it."""
    paths = (run_dir / CHECKPOINTS).glob("*/run/metadata")
    steps = {int(p.parent.parent.name): p for p in paths if p.parent.parent.name.isdecimal()}
    for step in sorted(steps, reverse=True):
        try:
            arrays = json.loads(steps[step].read_text(encoding="utf-8"))["arrays"]
            shapes = [array[1] for name, array in arrays.items() if name.startswith("params/")]
            return sum(math.prod(shape) for shape in shapes)
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            continue  # one that a killed run left half written
    return None


def _truncation(path: Path) -> dict[str, tuple[float, float]]:
    """The tasks of which something is truncated, the worst first."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
        shares = {name: (own["inputs"], own["targets"]) for name, own in tasks.items()}
        cut = {name: own for name, own in shares.items() if max(own) > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a run from before there was such a file
    return dict(sorted(cut.items(), key=lambda item: (-max(item[1]), item[0])))


# ---- the scores --------------------------------------------------------------------------------


def group_score(group: Mapping[str, Any]) -> float | None:
    """What stands for a group: the accuracy of its classification tasks, or the mean of all."""
    return group["mean"] if group["accuracy"] is None else group["accuracy"]


def _curves(evaluations: list[dict[str, Any]]) -> list[Line]:
    def figures(scores: dict[str, Any]) -> dict[str, float | None]:
        groups = {name: group_score(group) for name, group in scores["groups"].items()}
        return groups if len(groups) != 1 else {}

    means = _lines(evaluations, lambda scores: {"all tasks": scores.get("mean")})
    return _lines(evaluations, figures) + means


def _lines(evaluations: list[dict[str, Any]], figures: Any) -> list[Line]:
    """A line through each figure that the evaluations have."""
    points: dict[str, list[tuple[float, float]]] = {}
    for scores in evaluations:
        for name, value in figures(scores).items():
            if value is not None:
                points.setdefault(name, []).append((scores["step"], value))
    return [Line(name.replace("_", " "), own) for name, own in points.items()]
