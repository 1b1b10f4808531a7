"""What a task is: one dataset, declared once.

A `TaskSpec` is the parsed form of a card, `tasks/<collection>/<cluster>/<name>.yaml` (`card.py` has
an example). It says where raw records come from, how they become canonical records (fields, answer,
options), and in which words a model is asked (templates), and how it is scored (metrics).

Two fingerprints tell what a change touches. `data_fingerprint` covers what decides the canonical
records: a store that was prepared under another one is out of date. `fingerprint` covers the
templates and metrics too, and goes into checkpoints.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from flanmix.errors import UserError
from flanmix.registry.template import CHOICES, OPTIONS, RATIONALE, RESERVED, Template

SPLITS = ("train", "validation", "test")
TaskKind = Literal["classification", "generation"]
AnswerForm = Literal["index", "text"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*\Z")


@dataclass(frozen=True)
class Source:
    """Where a task's raw records come from.

    Attributes:
        kind: which reader, by its name in the table of sources (`data/sources/api.py`), where it
            is looked up when the source is read.
        location: what the reader makes of it: a folder, a dataset's name, `file.py:function`.
        settings: what else the card says to the reader, by key.

    Raises:
        ValueError: the location is no text.
    """

    kind: str
    location: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.location, str) or not self.location:
            raise ValueError(f"source {self.kind} is {self.location!r}: it must be a text")


@dataclass(frozen=True)
class TaskSpec:
    """One task.

    Attributes:
        name: unique among all tasks; letters, digits, `_` and `.`, so that SeqIO takes it too.
        collection: the folder of cards it belongs to.
        cluster: its cluster, by which tasks are held out.
        version: a whole number, raised when the records' meaning changes.
        kind: `classification` (an answer among options) or `generation`.
        source: where raw records come from.
        splits: split expression of the source for `train`, `validation` and `test`, or None.
        fields: canonical field name -> dotted path in the raw record.
        answer: dotted path of the answer in the raw record.
        options: fixed options in label order, or empty.
        option_fields: path of a list of options in the raw record, or the paths of each.
        labels: raw answer -> option, where the source spells its labels otherwise; `true` and
            `1` are texts here, and stand for the truth value and the number too.
        mapping: `file.py:function` beside the card, applied to the raw record first, or None.
        optional: fields that may be empty; a template that uses one skips such records.
        rationale: path of the reasoning in the raw record, or None; it may be empty.
        weight: path of the factor of the record's loss, or None.
        messages: path of a conversation, a list of `{role, content}`, or None.
        metadata: name -> path of what else is kept of a record.
        answer_form: `index` if the answer is an option's number, `text` if it is its text; None
            for whichever is the only possible reading.
        answer_first: the first option's number, where the answer is an index.
        templates: the wordings.
        metrics: names of metrics.
        folder: the card's folder.

    Raises:
        ValueError: where the parts contradict one another.
    """

    name: str
    collection: str
    cluster: str
    version: int
    kind: TaskKind
    source: Source
    splits: Mapping[str, str | None]
    fields: Mapping[str, str]
    answer: str
    templates: tuple[Template, ...]
    metrics: tuple[str, ...]
    options: tuple[str, ...] = ()
    option_fields: str | tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    mapping: str | None = None
    optional: tuple[str, ...] = ()
    rationale: str | None = None
    weight: str | None = None
    messages: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    answer_form: AnswerForm | None = None
    answer_first: int = 0
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"name is {self.name!r}: letters, digits, '_' and '.' only")
        if isinstance(self.version, bool) or not isinstance(self.version, int) or self.version < 1:
            raise ValueError(f"version is {self.version!r}: a whole number from 1")
        if self.kind not in get_args(TaskKind):
            raise ValueError(f"kind is {self.kind!r}: {' or '.join(get_args(TaskKind))}")
        if not self.fields:
            raise ValueError("fields is empty: name at least one")
        if reserved := self.reserved & set(self.fields):
            raise ValueError(f"field '{min(reserved)}' is reserved: choose another name")
        if unknown := set(self.optional) - set(self.fields):
            raise ValueError(f"optional names '{min(unknown)}', which is no field")
        if unknown := set(self.splits) - set(SPLITS):
            raise ValueError(f"split '{min(unknown)}' is unknown: {', '.join(SPLITS)}")
        if not any(self.splits.values()):
            raise ValueError("splits is empty: name at least one")
        if not self.metrics:
            raise ValueError("metrics is empty: name at least one")
        self._check_options()
        self._check_templates()

    def _check_options(self) -> None:
        if self.options and self.option_fields:
            raise ValueError("options are both fixed and per record: choose one")
        if self.kind == "classification" and not self.has_options:
            raise ValueError("options are missing: a classification task needs them")
        if self.kind == "generation" and self.has_options:
            raise ValueError("options are given: kind must be classification")
        if self.options and (len(self.options) < 2 or len(set(self.options)) < len(self.options)):
            raise ValueError(f"options are {list(self.options)}: at least two, all different")
        if self.labels and not self.options:
            raise ValueError("labels are given without fixed options")
        self._check_answer()
        for raw, option in self.labels.items():
            if option not in self.options:
                raise ValueError(f"label '{raw}' stands for '{option}', which is no option")

    def _check_answer(self) -> None:
        if self.answer_form not in (None, *get_args(AnswerForm)):
            raise ValueError(f"answer_form is {self.answer_form!r}: index or text")
        first = self.answer_first
        if isinstance(first, bool) or not isinstance(first, int) or first < 0:
            raise ValueError(f"answer: first is {first!r}: a whole number, 0 or 1")
        if self.answer_form != "index":
            if first:
                raise ValueError("answer: first is given, and the answer is no index")
            return
        if not self.has_options:
            raise ValueError("answer is an index, and the task has no options")
        if self.labels:
            raise ValueError("answer is an index, and labels are given: choose one")

    def _check_templates(self) -> None:
        if not self.templates:
            raise ValueError("templates is empty: write at least one")
        known = set(self.fields) | self.reserved
        for number, template in enumerate(self.templates):
            if unknown := template.fields - known:
                names = ", ".join(sorted(known))
                raise ValueError(
                    f"template {number}: field '{{{min(unknown)}}}' is unknown: one of {names}"
                )
            if template.fields & {OPTIONS, CHOICES} and not self.has_options:
                raise ValueError(f"template {number}: lists options, and the task has none")
            if self.rationale and not template.inverted and RATIONALE in template.input_fields:
                raise ValueError(
                    f"template {number}: its input shows {{rationale}}, which gives the answer "
                    "away; only an inverted template may"
                )

    @property
    def reserved(self) -> frozenset[str]:
        """Names that stand for something else than a field in this task's templates."""
        return RESERVED | {RATIONALE} if self.rationale else RESERVED

    @property
    def has_options(self) -> bool:
        """Whether the answer is one of a list of options."""
        return bool(self.options) or self.option_fields is not None

    @property
    def forward_templates(self) -> tuple[int, ...]:
        """Numbers of the templates that ask for the answer alone, in order: those that are scored.

        An inverted template asks for something else, and one whose target writes the rationale out
        asks for more: no metric and no ranking of options reads it.
        """
        return tuple(
            number
            for number, template in enumerate(self.templates)
            if not template.inverted and not self.asks_rationale(template)
        )

    def asks_rationale(self, template: Template) -> bool:
        """Whether a template's target writes the rationale out."""
        return self.rationale is not None and RATIONALE in template.target_fields

    @property
    def scored_split(self) -> str:
        """The split that a model is scored on: test, or validation where there is no test split.

        Raises:
            UserError: there is neither.
        """
        for split in ("test", "validation"):
            if self.splits.get(split):
                return split
        raise UserError(f"task '{self.name}' has neither a test nor a validation split")

    def data_fingerprint(self) -> str:
        """Hash of everything that decides the canonical records.

        What a card does not give leaves no trace, so that a new key changes no old store.
        """
        given = {
            "rationale": self.rationale,
            "weight": self.weight,
            "messages": self.messages,
            "metadata": sorted(self.metadata.items()),
            "answer_form": self.answer_form,
            "answer_first": self.answer_first,
        }
        more = [[key, value] for key, value in given.items() if value]
        return _digest(
            [
                self.name,
                self.version,
                self.kind,
                _source_parts(self.source),
                sorted(self.splits.items()),
                sorted(self.fields.items()),
                self.answer,
                self.options,
                self.option_fields,
                sorted(self.labels.items()),
                self.mapping,
                sorted(self.optional),
                [self._code(self.mapping), self._code(self.source.location)],
                *more,
            ]
        )

    def fingerprint(self) -> str:
        """Hash of the complete declaration."""
        templates = [[t.inputs, t.targets, t.inverted] for t in self.templates]
        return _digest([self.data_fingerprint(), self.cluster, templates, self.metrics])

    def _code(self, reference: str | None) -> str:
        """Hash of the Python file that `file.py:function` names, or nothing."""
        file, colon, _ = (reference or "").partition(":")
        if not colon or not file.endswith(".py") or self.folder is None:
            return ""
        path = self.folder / file
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _source_parts(source: Source) -> list[Any]:
    """What a fingerprint takes of a source; columns stand apart, as they always have."""
    others = {key: value for key, value in source.settings.items() if key != "columns"}
    parts = [source.kind, source.location, source.settings.get("columns", ())]
    return [*parts, sorted(others.items())] if others else parts


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]
