r"""Whether a text reads naturally where fields are put in: the spaces, and the punctuation.

    spacing_faults(Template("Q:{text}  Right ?"))
    -> ["its input has two spaces in a row: 'Q:{text}  Right'",
        "its input has a space before punctuation: 'Right ?'",
        "its input glues {text} to the punctuation before it: 'Q:{text}'"]

What a card alone can't tell, records do: whether `{text}.` becomes `It rains..`. `RecordSpacing`
looks at both sides of each field in a template, and at the fields' own texts, and names what comes
often.

The rules are those of languages that put spaces between words, and leave alone what others do: a
space before a colon, as in French, and fields within a text of Chinese or Japanese.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import (
    ANSWER,
    CHOICES,
    OPTIONS,
    RATIONALE,
    Template,
    choices_sentence,
)

# Fields stand in a text as their names between two characters that no text has use for; in a text
# without their names, as the first of the two.
FIELD_MARK, _CLOSE = "\ue000", "\ue001"
_FIELD = f"{FIELD_MARK}\\w+{_CLOSE}"
_BLOCK = f"{FIELD_MARK}{OPTIONS}{_CLOSE}"
# Latin, Greek and Cyrillic letters: others may have no spaces, or join particles to a name.
_LETTER = "[0-9A-Za-z\u00c0-\u052f]"
_STOP = ".,;:!?"
_Search = Callable[[str], re.Match[str] | None]


def _search(pattern: str) -> _Search:
    return re.compile(pattern).search


def _before_stop(text: str) -> re.Match[str] | None:
    """A space before punctuation; before the marks that French sets apart, in plain ASCII only."""
    marks = "[,;:!?)]" if _readable(text).isascii() else "[,)]"
    return re.search(rf"(?<=\S) +(?:{marks}|\.)(?=\s|\Z)", text)


_AT_THE_ENDS = r"\A\s+|(?<!\s)\s+\Z"
_FAULTS: tuple[tuple[str, _Search], ...] = (
    ("begins or ends with white space", _search(_AT_THE_ENDS)),
    ("has two spaces in a row", _search(r"(?<=\S)[ \t]{2,}(?=\S)")),
    ("has a space at the end of a line", _search(r"(?<![ \t])[ \t]+(?=\n\S|\n\n)")),
    ("has more than one empty line in a row", _search(r"\n[ \t]*\n[ \t]*\n")),
    ("has a space before punctuation", _before_stop),
    ("has a space after a bracket", _search(r"\( ")),
    ("glues {} to a word", _search(f"{_LETTER}{_FIELD}|{_FIELD}{_LETTER}")),
    ("glues {} to the punctuation before it", _search(f"[{_STOP})]{_FIELD}")),
    ("has no space between {}", _search(f"{_FIELD}{_FIELD}")),
    ("glues the list of options to what is before it", _search(f"(?<=\\S){_BLOCK}")),
    ("goes on in the line of the last option", _search(f"{_BLOCK}[ \\t]*[^\\s]")),
)
_CONTEXT = 12  # characters shown at both sides of a fault
_EXAMPLE = 80


def marked(fill: Callable[[Mapping[str, str]], str], names: frozenset[str]) -> str:
    """Returns one side of a template with its fields marked; `fill` renders that side."""
    return fill({name: f"{FIELD_MARK}{name}{_CLOSE}" for name in names})


def without_names(text: str) -> str:
    """Returns a marked text with white space collapsed, and every field as the same character."""
    return " ".join(re.sub(_FIELD, FIELD_MARK, text).split())


def _sides(template: Template) -> Iterator[tuple[str, str]]:
    yield "input", marked(template.render_inputs, template.input_fields)
    yield "target", marked(template.render_targets, template.target_fields)


def spacing_faults(template: Template) -> list[str]:
    """Returns what reads unnaturally in a template, whatever its records; each kind once."""
    messages = []
    for side, text in _sides(template):
        for message, search in _FAULTS:
            if found := search(text):
                fields = " and ".join(re.findall(_FIELD, found.group()))
                what = message.replace("{}", fields or "a field")
                messages.append(_readable(f"its {side} {what}: '{_around(text, found)}'"))
    return messages


def _around(text: str, found: re.Match[str]) -> str:
    """The fault with a word at each side."""
    start = max(text.rfind(" ", 0, max(found.start() - 1, 0)) + 1, found.start() - _CONTEXT)
    end = text.find(" ", found.end() + 1)
    end = min(len(text) if end < 0 else end, found.end() + _CONTEXT)
    return text[start:end].strip().replace("\n", "\\n")


def _readable(text: str) -> str:
    return text.replace(FIELD_MARK, "{").replace(_CLOSE, "}")


# ---- records -----------------------------------------------------------------------------------

# One record in ten is a habit of the dataset, which the card or its mapping can correct. What is
# rarer is the world's ("Yahoo!" before a comma), and no card could be clean of it.
_OFTEN = 0.1

_FIELD_FAULTS: tuple[tuple[str, _Search], ...] = (
    ("begins or ends with white space", _search(_AT_THE_ENDS)),
    ("has two spaces in a row", _search(r"(?<=\S) {2,}(?=\S)")),
    ("has a space before punctuation", _before_stop),
)


_Fault = tuple[int | None, str]  # template, message


@dataclass(frozen=True)
class _Joint:
    """A field in a template, and the character that follows it, if any."""

    template: int
    field: str
    after: str


class RecordSpacing:
    """Counts what reads unnaturally in records of one task, by itself and where templates put it.

    Args:
        task: the records' task.
    """

    def __init__(self, task: TaskSpec) -> None:
        self._joints: dict[str, list[_Joint]] = {}
        for number, template in enumerate(task.templates):
            for joint in _joints(number, template):
                self._joints.setdefault(joint.field, []).append(joint)
        self._counts: Counter[_Fault] = Counter()
        self._examples: dict[_Fault, str] = {}
        self._records = 0

    def add(self, record: Record) -> None:
        """Looks at a record."""
        self._records += 1
        faults = dict(self._of(record))
        self._counts.update(faults.keys())
        for fault, example in faults.items():
            self._examples.setdefault(fault, example[:_EXAMPLE])

    def problems(self) -> list[tuple[int | None, str]]:
        """Returns (template, message) of what was seen in many of the records."""
        return [
            (
                template,
                f"{what}, in {count} of {self._records} records: "
                f"'{self._examples[template, what]}'",
            )
            for (template, what), count in self._counts.items()
            if count >= _OFTEN * self._records
        ]

    def _of(self, record: Record) -> Iterator[tuple[_Fault, str]]:
        """What is wrong with a record, each with its text."""
        for name, text in record.fields.items():
            for message, search in _FIELD_FAULTS:
                if found := search(text):
                    yield (None, f"field '{name}' {message}"), _around(text, found)
            yield from self._at(name, text)
        for answer in record.answers[:1]:
            yield from self._at(ANSWER, answer)
        if record.rationale:
            yield from self._at(RATIONALE, record.rationale)
        if record.options:
            sentence = choices_sentence(record.options)
            yield from self._at(CHOICES, sentence)
            if any(option.endswith(tuple(_STOP)) for option in record.options[:-1]):
                what = "lists in a sentence options that end with punctuation: use {options}"
                for joint in self._joints.get(CHOICES, ()):
                    yield (joint.template, what), sentence

    def _at(self, name: str, text: str) -> Iterator[tuple[_Fault, str]]:
        """Marks of templates right after a text that ends with one."""
        if text.endswith(tuple(_STOP)):
            for joint in self._joints.get(name, ()):
                if joint.after and joint.after in _STOP:
                    what = f"puts '{joint.after}' after {{{name}}}, which ends with punctuation"
                    yield (joint.template, what), _end(text) + joint.after


def _joints(number: int, template: Template) -> Iterator[_Joint]:
    for _, text in _sides(template):
        for found in re.finditer(_FIELD, text):
            yield _Joint(number, found.group()[1:-1], text[found.end() : found.end() + 1])


def _end(text: str) -> str:
    return " ".join(text.split(" ")[-2:])[-_EXAMPLE:]
