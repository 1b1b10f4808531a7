r"""Whether a text reads naturally where fields are put in: the spaces, and the punctuation.

    spacing_faults(Template("Q:{text}  Right ?"))
    -> ["its input glues {text} to the punctuation before it: 'Q:{text}'",
        "its input has two spaces in a row: '}  Right'",
        "its input has a space before punctuation: 'Right ?'"]

What a card alone can't tell, records do: whether `{text}.` becomes `It rains..`. `RecordSpacing`
looks at both sides of each place, and at the fields themselves, and names what comes often.

The rules are those of languages that put spaces between words, and leave alone what others do: a
no-break space before punctuation, as in French, and fields within a text of Chinese or Japanese.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flanmix.spec.record import Record
from flanmix.spec.task import TaskSpec
from flanmix.spec.template import ANSWER, CHOICES, OPTIONS, Template, choices_sentence

# Fields stand in a text as their names between two characters that no text has use for; in a text
# without their names, as the first of the two.
PLACE, _CLOSE = "\ue000", "\ue001"
_PLACE = f"{PLACE}\\w+{_CLOSE}"
_BLOCK = f"{PLACE}{OPTIONS}{_CLOSE}"
# Latin, Greek and Cyrillic letters: others may have no spaces, or join particles to a name.
_LETTER = "[0-9A-Za-z\u00c0-\u052f]"
_STOP = ".,;:!?"
_BEFORE_STOP = r"(?<=\S) +(?:[,;:!?)]|\.)(?=\s|\Z)"

_FAULTS = tuple(
    (message, re.compile(pattern))
    for message, pattern in (
        ("begins or ends with white space", r"\A\s+|\s+\Z"),
        ("has two spaces in a row", r"(?<=\S)[ \t]{2,}(?=\S)"),
        ("has a space at the end of a line", r"[ \t]+(?=\n\S|\n\n)"),
        ("has more than one empty line in a row", r"\n[ \t]*\n[ \t]*\n\s*"),
        ("has a space before punctuation", _BEFORE_STOP),
        ("has a space after a bracket", r"\( +"),
        ("glues {} to a word", f"{_LETTER}{_PLACE}|{_PLACE}{_LETTER}"),
        ("glues {} to the punctuation before it", f"[{_STOP})]{_PLACE}"),
        ("has no space between {}", f"{_PLACE}{_PLACE}"),
        ("starts the list of options in the middle of a word or a mark", f"(?<=\\S){_BLOCK}"),
        ("goes on in the line of the last option", f"{_BLOCK}[ \\t]*[^\\s]"),
    )
)
_CONTEXT = 12  # characters shown at both sides of a fault
_EXAMPLE = 80


def marked(fill: Callable[[Mapping[str, str]], str], names: frozenset[str]) -> str:
    """Returns one side of a template with its places marked; `fill` renders that side."""
    return fill({name: f"{PLACE}{name}{_CLOSE}" for name in names})


def without_names(text: str) -> str:
    """Returns a marked text with white space collapsed, and every place as the same character."""
    return " ".join(re.sub(_PLACE, PLACE, text).split())


def _sides(template: Template) -> Iterator[tuple[str, str]]:
    yield "input", marked(template.render_inputs, template.input_fields)
    yield "target", marked(template.render_targets, template.target_fields)


def spacing_faults(template: Template) -> list[str]:
    """Returns what reads unnaturally in a template, whatever its records; each kind once."""
    messages = []
    for side, text in _sides(template):
        for message, pattern in _FAULTS:
            if found := pattern.search(text):
                places = " and ".join(re.findall(_PLACE, found.group()))
                what = message.replace("{}", places or "a field")
                messages.append(_readable(f"its {side} {what}: '{_around(text, found)}'"))
    return messages


def _around(text: str, found: re.Match[str]) -> str:
    """The fault with a word at each side."""
    start = max(text.rfind(" ", 0, max(found.start() - 1, 0)) + 1, found.start() - _CONTEXT)
    end = text.find(" ", found.end() + 1)
    end = min(len(text) if end < 0 else end, found.end() + _CONTEXT)
    return text[start:end].replace("\n", "\\n")


def _readable(text: str) -> str:
    return text.replace(PLACE, "{").replace(_CLOSE, "}")


# ---- records -----------------------------------------------------------------------------------

# One record in ten is a habit of the dataset, which the card or its mapping can mend. What is rarer
# is the world's ("Yahoo!" before a comma), and no card could be clean of it.
_OFTEN = 0.1

_FIELD_FAULTS = tuple(
    (message, re.compile(pattern))
    for message, pattern in (
        ("begins or ends with white space", r"\A\s+|\s+\Z"),
        ("has two spaces in a row", r"(?<=\S) {2,}(?=\S)"),
        ("has a space before punctuation", _BEFORE_STOP),
    )
)


@dataclass(frozen=True)
class _Joint:
    """A place of a template, and the character that follows it, if any."""

    template: int
    field: str
    after: str


class RecordSpacing:
    """Counts what reads unnaturally in records of one task, field by field and place by place.

    Args:
        spec: the records' task.
    """

    def __init__(self, spec: TaskSpec) -> None:
        self._joints: dict[str, list[_Joint]] = {}
        for number, template in enumerate(spec.templates):
            for joint in _joints(number, template):
                self._joints.setdefault(joint.field, []).append(joint)
        self._seen: Counter[int | str] = Counter()
        self._faults: dict[tuple[int | None, str], list[str]] = {}
        self._records = 0

    def add(self, record: Record) -> None:
        """Looks at a record."""
        self._records += 1
        for name, text in record.fields.items():
            for message, pattern in _FIELD_FAULTS:
                if found := pattern.search(text):
                    self._note(None, f"field '{name}' {message}", _around(text, found))
            self._look(name, text, text)
        if record.answers:
            self._look(ANSWER, record.answers[0], record.answers[0])
        if record.options:
            sentence = choices_sentence(record.options)
            self._look(CHOICES, record.options[-1], sentence)
            self._look_at_choices(record.options, sentence)

    def _look(self, name: str, text: str, shown: str) -> None:
        if text[-1:] and text[-1] in _STOP:
            for joint in self._joints.get(name, ()):
                if joint.after and joint.after in _STOP:
                    what = f"puts '{joint.after}' after {{{name}}}, which ends with punctuation"
                    self._note(joint.template, what, _end(shown) + joint.after)

    def _look_at_choices(self, options: Sequence[str], sentence: str) -> None:
        if any(option[-1:] and option[-1] in _STOP for option in options[:-1]):
            for joint in self._joints.get(CHOICES, ()):
                what = "lists in a sentence options that end with punctuation: use {options}"
                self._note(joint.template, what, sentence)

    def _note(self, template: int | None, what: str, example: str) -> None:
        self._faults.setdefault((template, what), []).append(example[:_EXAMPLE])

    def problems(self) -> list[tuple[int | None, str]]:
        """Returns (template, message) of what was seen in many of the records."""
        return [
            (template, f"{what}, in {len(seen)} of {self._records} records: '{seen[0]}'")
            for (template, what), seen in self._faults.items()
            if len(seen) >= _OFTEN * self._records
        ]


def _joints(number: int, template: Template) -> Iterator[_Joint]:
    for _, text in _sides(template):
        for found in re.finditer(_PLACE, text):
            yield _Joint(number, found.group()[1:-1], text[found.end() : found.end() + 1])


def _end(text: str) -> str:
    return " ".join(text.split(" ")[-2:])[-_EXAMPLE:]
