"""What a run goes on with that is not what it was trained with, setting by setting.

    changes = changed(record, run, step=10)
    [str(c) for c in changes]      -> ["STEPS: 10 -> 20", "Schedule.rate: 0.01 -> 0.02"]
    confirm(changes, run, step=10) # says them; an error if one needs a yes and there is none

Values are compared, not the text of gin files. A run record holds them under `settings`; one that
was written before it did holds the operative gin text, which has the same values. A setting that
either side lacks is not compared. What decides the batches is refused when it differs (see
`run_record`), and is not among the settings; nor is what changes no figure: paths, the mesh, which
checkpoints are kept.
"""

import ast
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flanmix.console import say
from flanmix.errors import UserError
from flanmix.fields import gin_name
from flanmix.learn.schedule import Schedule
from flanmix.train.settings import Run

_SOURCE = "CheckpointConfig.initialize_from"
# They say how long, how often or on what hardware, and are free to change.
_FREE = {
    _SOURCE,
    "TrainConfig.steps",
    "TrainConfig.microbatches",
    "Evaluation.every",
    "Evaluation.batch_size",
    "Compute.remat",
    "Compute.kernels",
}
_SCHEDULE = "Schedule."
_EVALUATION = "Evaluation."
_POINTS = 256  # of two schedules that are compared


@dataclass(frozen=True)
class Change:
    """One setting that differs.

    Attributes:
        name: `Class.field`.
        shown: the name that sets it, such as STEPS.
        old: its value in the run so far.
        new: its value now.
        needs_yes: whether the run only goes on with it if the user says so.
        note: what it comes to, where that is not plain.
    """

    name: str
    shown: str
    old: Any
    new: Any
    needs_yes: bool
    note: str = ""

    def __str__(self) -> str:
        """The change as one reads it, by the name that sets it."""
        note = f" ({self.note})" if self.note else ""
        return f"{self.shown}: {_value(self.old)} -> {_value(self.new)}{note}"


def settings_of(run: Run) -> dict[str, Any]:
    """Returns what decides a run's figures beside its data, as JSON holds it, by `Class.field`."""
    return {name: value for name, _, value in _settings(run)}


def changed(record: Mapping[str, Any], run: Run, step: int) -> list[Change]:
    """Returns the settings that differ between a run's record and what it is to go on with.

    Args:
        record: the record of the checkpoint that it goes on from.
        run: the run now.
        step: the checkpoint's step.
    """
    old = record["settings"] if "settings" in record else _text_settings(record["configuration"])
    new = settings_of(run)
    names = [name for name in new if name in old and old[name] != new[name]]
    schedule = [name for name in names if name.startswith(_SCHEDULE)]
    steps = run.train.steps if run.train else step
    free = set(_FREE)
    if step >= steps:  # nothing is trained any more: it is evaluated as the run says now
        free |= {name for name in names if name.startswith(_EVALUATION)}
    if schedule == ["Schedule.steps"] and not _rates_differ(old, new, step, steps):
        free |= set(schedule)
    notes = {_SOURCE: "not read: the run goes on from its own checkpoint"}
    if schedule and not free.issuperset(schedule):
        notes[schedule[-1]] = _jump(old, new, step)
    shown = {name: by for name, by, _ in _settings(run)}
    return [Change(n, shown[n], old[n], new[n], n not in free, notes.get(n, "")) for n in names]


def confirm(changes: Sequence[Change], run: Run, step: int) -> None:
    """Says what has changed, if all of it may.

    Raises:
        UserError: the run was not told to go on with changes that need it.
    """
    unsaid = [str(change) for change in changes if change.needs_yes]
    if unsaid and not run.checkpoints.allow_changes:
        raise UserError(
            f"the run in {run.folder} came to step {step} with other settings: "
            f"{'; '.join(unsaid)}; set them back, or go on with --gin.ALLOW_CHANGES=True"
        )
    if changes:
        say(f"after step {step}: {'; '.join(map(str, changes))}")


def _settings(run: Run) -> Iterator[tuple[str, str, Any]]:
    """Yields (Class.field, the name that sets it, value) of all settings."""
    yield "Run.model", gin_name(run, "model"), f"@{type(run.model).__name__}"
    source = run.checkpoints.initialize_from
    yield _SOURCE, gin_name(run.checkpoints, "initialize_from"), source
    for part in (run.model, run.train, run.compute, run.evaluation):
        if part is not None:
            yield from _fields(part)


def _fields(config: Any) -> Iterator[tuple[str, str, Any]]:
    """Yields the same of a dataclass and of those that it holds."""
    for declared in dataclasses.fields(config):
        name, value = declared.name, getattr(config, declared.name)
        holds = dataclasses.is_dataclass(value)
        shown = f"@{type(value).__name__}" if holds else _as_json(value)
        yield f"{type(config).__name__}.{name}", gin_name(config, name), shown
        if holds:
            yield from _fields(value)


def _as_json(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except TypeError:  # an object of a plugin: which one it is, and not where in memory
        return f"@{type(value).__name__}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value.startswith("@") else repr(value)


# ---- the schedule ------------------------------------------------------------------------------


def _schedules(*settings: Mapping[str, Any]) -> list[Schedule]:
    names = [declared.name for declared in dataclasses.fields(Schedule)]
    given = [{n: one[_SCHEDULE + n] for n in names if _SCHEDULE + n in one} for one in settings]
    return [Schedule(**values) for values in given]


def _rates_differ(old: Mapping[str, Any], new: Mapping[str, Any], start: int, steps: int) -> bool:
    """Whether the steps to come have another rate than they would have had."""
    if start >= steps:
        return False
    to_come = np.unique(np.linspace(start, steps - 1, _POINTS).astype(int))
    before, now = (np.array([float(s(i)) for i in to_come]) for s in _schedules(old, new))
    return not np.allclose(before, now, rtol=1e-6, atol=0)


def _jump(old: Mapping[str, Any], new: Mapping[str, Any], step: int) -> str:
    before, now = _schedules(old, new)
    last, coming = float(before(max(step - 1, 0))), float(now(step))
    return f"the learning rate was {last:.3g} at step {step} and is {coming:.3g} at step {step + 1}"


# ---- records of an earlier form ----------------------------------------------------------------


def _text_settings(text: str) -> dict[str, Any]:
    """Returns the settings that an operative gin text holds: literals, macros and classes."""
    lines = re.sub(r"^\s*#.*\n?", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\?\n\s+", " ", lines)  # gin folds long values
    bound = dict(re.findall(r"^([\w.]+) = (.+)$", lines, flags=re.MULTILINE))
    read = {name: _literal(value, bound) for name, value in bound.items()}
    if read.get("Evaluation.groups") == {}:  # the default of then, which is another one now
        del read["Evaluation.groups"]
    return {name: value for name, value in read.items() if "." in name and value is not ...}


def _literal(value: str, bound: Mapping[str, str]) -> Any:
    """Returns a gin value as JSON holds it; `...` for what can't be read."""
    if reference := re.fullmatch(r"@(?:\w+[./])*(\w+)\(\)", value):
        return f"@{reference[1]}"
    if macro := re.fullmatch(r"%(\w+)", value):
        return _literal(bound.get(macro[1], ""), bound)
    try:
        return _as_json(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return ...
