"""Several runs on one page: what they were told, what came out, and how it differs.

    comparison = compare([read_run(Path("runs/a")), read_run(Path("runs/b"))])
    comparison.runs             ->  (("A", "a"), ("B", "b"))
    comparison.configuration    ->  (Row("Schedule.rate", ("0.02", "0.005")),)
    comparison.scores[0].rows   ->  (ScoreDifference("unseen tasks", "", (57.5, 61.0), (3.5,)),)

The first run is what the others are compared with. A task, group or cluster that a run has not is
blank there. Of the configurations only what differs is shown, and never RUN_DIR.
"""

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flanmix.errors import UserError
from flanmix.pages.charts import PERCENT, Line, LineChart, line_chart
from flanmix.pages.rendering import render
from flanmix.pages.run_summary import RunSummary, bindings, group_score, read_run

LETTERS = string.ascii_uppercase
FILE = "comparison.html"
_OWN = {"RUN_DIR"}  # what every run has of its own

Scores = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A name, and the value of each run; None where a run has none."""

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class ScoreDifference:
    """A score of each run, and what each run after the first has more than the first."""

    name: str
    note: str
    values: tuple[float | None, ...]
    differences: tuple[float | None, ...]


@dataclass(frozen=True)
class ScoreSection:
    """The scores of all groups, clusters or tasks."""

    title: str
    rows: tuple[ScoreDifference, ...]


@dataclass(frozen=True)
class Comparison:
    """What the page and the text show.

    Attributes:
        runs: of each run the letter that stands for it, and its name.
        measures: what sums up each training.
        configuration: the gin names whose values differ.
        notes: what is to be known before scores are compared, a sentence each.
        scores: the scores, section by section; one without rows is left out.
        loss: the training losses; None where no run has any.
        score_curves: the mean scores by step; None where no run was evaluated twice.
    """

    runs: tuple[tuple[str, str], ...]
    measures: tuple[Row, ...]
    configuration: tuple[Row, ...]
    notes: tuple[str, ...]
    scores: tuple[ScoreSection, ...]
    loss: LineChart | None
    score_curves: LineChart | None

    @property
    def letters(self) -> tuple[str, ...]:
        """The runs' letters."""
        return tuple(letter for letter, _ in self.runs)

    @property
    def difference_names(self) -> tuple[str, ...]:
        """What the differences are called: `B-A`, `C-A`."""
        return tuple(f"{letter}-{self.letters[0]}" for letter in self.letters[1:])


def read_comparison(run_dirs: Sequence[Path]) -> Comparison:
    """Reads runs and compares them.

    Raises:
        UserError: a folder holds no run, or there are more runs than letters.
    """
    if len(run_dirs) > len(LETTERS):
        raise UserError(f"{len(run_dirs)} runs are too many for one page: at most {len(LETTERS)}")
    return compare([read_run(folder) for folder in run_dirs])


def compare(runs: Sequence[RunSummary]) -> Comparison:
    """Compares at least one run with the first of them."""
    lasts = [run.last or {} for run in runs]
    sections = {
        "All tasks": _rows([{"mean": last.get("mean")} for last in lasts]),
        "Groups": _rows([_groups(last) for last in lasts]),
        "Clusters": _rows([last.get("clusters", {}) for last in lasts]),
        "Tasks": _rows([_tasks(last) for last in lasts], lambda task: _metrics(task, lasts)),
    }
    steps = (0, max(_last_step(run) for run in runs))
    losses = [run.log.loss if run.log else None for run in runs]
    means = [next((c for c in run.curves if c.name == "all tasks"), None) for run in runs]
    grew = any(mean is not None and len(mean.points) > 1 for mean in means)
    return Comparison(
        runs=tuple(zip(LETTERS, _names([run.folder for run in runs]), strict=False)),
        measures=tuple(_union([dict(run.measures) for run in runs])),
        configuration=tuple(_configuration([bindings(run.configuration) for run in runs])),
        notes=tuple(_notes(runs, lasts)),
        scores=tuple(ScoreSection(title, rows) for title, rows in sections.items() if rows),
        loss=_curves(losses, steps),
        score_curves=_curves(means, steps, PERCENT) if grew else None,
    )


def page(comparison: Comparison) -> str:
    """Returns the HTML page."""
    return render("comparison.html.j2", comparison=comparison)


# ---- the runs ----------------------------------------------------------------------------------


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many of the folders above them as tell them apart."""
    paths = [folder.absolute().parts for folder in folders]
    depth = 1
    while depth < max(map(len, paths)) and len({p[-depth:] for p in paths}) < len(set(paths)):
        depth += 1
    return ["/".join(path[-depth:]) for path in paths]


def _last_step(run: RunSummary) -> int:
    return max(run.log.steps if run.log else 0, run.last["step"] if run.last else 0)


def _union(runs: Sequence[Mapping[str, str]]) -> Iterator[Row]:
    for name in dict.fromkeys(name for run in runs for name in run):
        yield Row(name, tuple(run.get(name) for run in runs))


def _configuration(runs: Sequence[Mapping[str, str]]) -> list[Row]:
    known = sorted(_union(runs), key=lambda row: (not row.name.isupper(), row.name))
    return [row for row in known if len(set(row.values)) > 1 and row.name not in _OWN]


def _curves(
    lines: Sequence[Line | None], steps: tuple[int, int], marks: Sequence[float] = ()
) -> LineChart | None:
    """A line a run, in the run's colour whether the runs before it have one or not."""
    pairs = zip(LETTERS, lines, strict=False)
    named = [Line(letter, line.points if line else ()) for letter, line in pairs]
    return line_chart(named, steps, marks=marks) if any(lines) else None


# ---- the scores --------------------------------------------------------------------------------


def _groups(last: Scores) -> dict[str, float | None]:
    groups = last.get("groups", {})
    return {name.replace("_", " "): group_score(group) for name, group in groups.items()}


def _tasks(last: Scores) -> dict[str, float | None]:
    """Each task's first metric."""
    return {
        name: last["tasks"][name].get(task["primary"])
        for name, task in sorted(last.get("details", {}).items())
    }


def _metrics(task: str, lasts: Sequence[Scores]) -> str:
    details = [last.get("details", {}).get(task) for last in lasts]
    return " / ".join(dict.fromkeys(own["primary"] for own in details if own))


def _rows(
    runs: Sequence[Mapping[str, float | None]], note: Callable[[str], str] = lambda _: ""
) -> tuple[ScoreDifference, ...]:
    rows = []
    for name in sorted({name for run in runs for name in run}):
        first, *others = values = tuple(run.get(name) for run in runs)
        if any(value is not None for value in values):
            more = tuple(_difference(first, value) for value in others)
            rows.append(ScoreDifference(name, note(name), values, more))
    return tuple(rows)


def _difference(first: float | None, value: float | None) -> float | None:
    return None if first is None or value is None else value - first


def _notes(runs: Sequence[RunSummary], lasts: Sequence[Scores]) -> Iterator[str]:
    for letter, run in zip(LETTERS, runs, strict=False):
        if run.last is None:
            yield f"{letter} has no scores."
        if run.log is None:
            yield f"{letter} has no training."
    scored = [last for last in lasts if last]
    if len({last["step"] for last in scored}) > 1:
        pairs = zip(LETTERS, lasts, strict=False)
        steps = [f"{letter} {last['step']:,}" for letter, last in pairs if last]
        yield f"The last evaluations are of different steps: {', '.join(steps)}."
    names = [set(last["tasks"]) for last in scored]
    shared = set.intersection(*names) if names else set()
    if lacking := set().union(*names) - shared:
        yield f"Tasks that were not scored in every run, and are blank there: {len(lacking)}."
    drawn = {
        task
        for task in shared
        if len({(d["split"], d["examples"]) for d in (s["details"][task] for s in scored)}) > 1
    }
    if drawn:
        yield f"Tasks that were scored on other records, or another number of them: {len(drawn)}."
