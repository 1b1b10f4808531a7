"""Instruction templates: text with named fields, filled in one pass.

A template turns a canonical record into an input and a target. `{name}` stands for a field, `{{`
and `}}` are braces. Besides the task's own fields there are:

    {answer}     the record's answer
    {options}    the answer options as a block of lines:  "Options:" newline "- yes" newline "- no"
    {choices}    the answer options in a sentence:        "yes, no or maybe"
    {rationale}  the reasoning that leads to the answer, where the card says where it is

Substitution walks the template once and never looks at what it has put in, so that braces, quotes
or another field's name inside a record are text and nothing else:

    Template("Is {a} right?").render_inputs({"a": "{answer}"})  ->  "Is {answer} right?"

An inverted template turns the task around: its input is made from the answer and its target is
another field. A template that is not inverted must have the answer in its target and must not show
it in its input; both are errors on construction.

A rationale gives the answer away. So it may stand in a target ("{rationale} So: {answer}", which is
trained on and not scored), and in an input of an inverted template, but not in an input that asks
for the answer. A dataset that does mean to show an explanation and ask takes it as an ordinary
field under another name. `{rationale}` is a field like any other in a task without a `rationale:`.
A record that has none goes without the templates that use it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ANSWER = "answer"
OPTIONS = "options"
CHOICES = "choices"
RATIONALE = "rationale"  # reserved in tasks that have one
RESERVED = frozenset({ANSWER, OPTIONS, CHOICES})

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class _Piece:
    """A stretch of literal text, or the name of a field."""

    text: str
    is_field: bool


def _parse(text: str) -> tuple[_Piece, ...]:
    pieces: list[_Piece] = []
    literal = ""
    end = 0
    for match in _FIELD.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        token = match.group()
        if token in ("{{", "}}"):
            literal += token[0]
        elif match.group(1) is None:
            raise ValueError(f"a lone '{token}' at character {match.start()}: write '{token * 2}'")
        elif not _NAME.match(match.group(1)):
            raise ValueError(f"'{token}' is no field name: letters, digits and '_' only")
        else:
            if literal:
                pieces.append(_Piece(literal, False))
            pieces.append(_Piece(match.group(1), True))
            literal = ""
    literal += text[end:]
    if literal:
        pieces.append(_Piece(literal, False))
    return tuple(pieces)


def _names(pieces: Iterable[_Piece]) -> frozenset[str]:
    return frozenset(piece.text for piece in pieces if piece.is_field)


def _fill(pieces: Iterable[_Piece], values: Mapping[str, str]) -> str:
    return "".join(values[piece.text] if piece.is_field else piece.text for piece in pieces)


@dataclass(frozen=True)
class Template:
    """One wording of a task.

    Attributes:
        inputs: the input's text with fields.
        targets: the target's text with fields.
        inverted: whether the input is made from the answer and the target is another field.

    Raises:
        ValueError: for a malformed field, or a template that shows the answer.
    """

    inputs: str
    targets: str = "{answer}"
    inverted: bool = False
    _inputs: tuple[_Piece, ...] = field(init=False, repr=False, compare=False)
    _targets: tuple[_Piece, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for side in ("inputs", "targets"):
            text = getattr(self, side)
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{side} is {text!r}: it must be a text")
            try:
                object.__setattr__(self, f"_{side}", _parse(text))
            except ValueError as error:
                raise ValueError(f"{side}: {error}") from None
        shown, asked = ANSWER in self.input_fields, ANSWER in self.target_fields
        if shown and not self.inverted:
            raise ValueError("its input shows {answer}; only an inverted template may")
        if not self.inverted and not asked:
            raise ValueError(
                "its target lacks {answer}; if it is turned around, say inverted: true"
            )
        if self.inverted and asked:
            raise ValueError("it is inverted, and its target is still {answer}")
        if not self.target_fields:
            raise ValueError("its target has no field: every record would have the same target")
        if self.target_fields & {OPTIONS, CHOICES}:
            raise ValueError("its target lists the options: they belong in the input")

    @property
    def input_fields(self) -> frozenset[str]:
        """Names of the fields that the input uses."""
        return _names(self._inputs)

    @property
    def target_fields(self) -> frozenset[str]:
        """Names of the fields that the target uses."""
        return _names(self._targets)

    @property
    def fields(self) -> frozenset[str]:
        """Names of all fields that the template uses, reserved ones included."""
        return self.input_fields | self.target_fields

    def render_inputs(self, values: Mapping[str, str]) -> str:
        """Fills the input; raises KeyError for a field that `values` lacks."""
        return _fill(self._inputs, values)

    def render_targets(self, values: Mapping[str, str]) -> str:
        """Fills the target; raises KeyError for a field that `values` lacks."""
        return _fill(self._targets, values)


def options_block(options: Iterable[str]) -> str:
    r"""The options as a block: `("yes", "no")` -> `"Options:\n- yes\n- no"`."""
    return "Options:" + "".join(f"\n- {option}" for option in options)


def choices_sentence(options: Iterable[str]) -> str:
    """The options in a sentence: `("a", "b", "c")` -> `"a, b or c"`."""
    *head, last = list(options)
    return f"{', '.join(head)} or {last}" if head else last
