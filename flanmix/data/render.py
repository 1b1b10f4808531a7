r"""From a canonical record and a template to an example: spans of text, with and without loss.

    record:    {"premise": "It rains.", "hypothesis": "It is wet."}, answer "yes", options yes, no
    template:  "{premise} Is it true that {hypothesis}\n{options}"  ->  "{answer}"
    example:   Span("It rains. Is it true that It is wet.\nOptions:\n- yes\n- no", has_loss=False),
               Span("yes", has_loss=True),  options ("yes", "no"),  references ("yes",)

A template makes two spans, `inputs` and `targets`. A conversation has more: each turn that the
model learns to write is a span with loss, and what it reads in between is one without.

Rendering is pure: the same arguments give the same text. Exemplars, records of the same task, come
before the query in the query's own template; each is followed by its target, and the query by the
same cue, so that what is asked for is plain:

    <inputs 1>\nAnswer: <targets 1>\n\n<inputs 2>\nAnswer: <targets 2>\n\n<query>\nAnswer:
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from flanmix.data.randomness import fold
from flanmix.registry.record import Message, Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import (
    ANSWER,
    CHOICES,
    OPTIONS,
    RATIONALE,
    choices_sentence,
    options_block,
)

CUE = "\nAnswer:"
SEPARATOR = "\n\n"


class Span(NamedTuple):
    """A stretch of text.

    Attributes:
        text: the text.
        has_loss: whether the model learns to write it.
        control: whether it spells a control token, which it becomes; text never does.
        content: of a conversation, whether it is what a message says; the rest is the template's,
            and is not truncated.
    """

    text: str
    has_loss: bool
    control: bool = False
    content: bool = False


@dataclass(frozen=True)
class TextExample:
    """One rendered example.

    Attributes:
        spans: the text in order; at least one has loss.
        task: the task's name.
        template: the template's number.
        record: the record's id.
        options: the target of every answer option, in label order; empty where there are none or
            the template does not ask for the answer alone.
        references: all accepted targets, `targets` among them.
        weight: factor of the loss of all its spans, the record's own.
        messages: the record's own conversation, which a chat format takes; empty for none.
        chat: whether the spans are a conversation in a chat template, which has everything that is
            between inputs and targets and, where its last turn ends with a control token, the end.

    Raises:
        ValueError: no span has loss.
    """

    spans: tuple[Span, ...]
    task: str
    template: int
    record: str
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    weight: float = 1.0
    messages: tuple[Message, ...] = ()
    chat: bool = False

    def __post_init__(self) -> None:
        if not any(span.has_loss for span in self.spans):
            raise ValueError(f"task '{self.task}', record {self.record}: no span has loss")

    @classmethod
    def of_pair(
        cls,
        inputs: str,
        targets: str,
        task: str = "",
        template: int = 0,
        record: str = "",
        options: tuple[str, ...] = (),
        references: tuple[str, ...] = (),
        weight: float = 1.0,
    ) -> "TextExample":
        """Returns the example that reads `inputs` and learns to write `targets`."""
        spans = (Span(inputs, False), Span(targets, True))
        return cls(spans, task, template, record, options, references, weight)

    @property
    def inputs(self) -> str:
        """The text before the first span with loss: what the model reads first."""
        return "".join(span.text for span in self.spans[: self._first])

    @property
    def targets(self) -> str:
        """The text from the first span with loss on."""
        return "".join(span.text for span in self.spans[self._first :])

    @property
    def _first(self) -> int:
        return next(number for number, span in enumerate(self.spans) if span.has_loss)


def render(
    task: TaskSpec,
    record: Record,
    template: int,
    *,
    reference: int = 0,
    exemplars: Sequence[Record] = (),
) -> TextExample:
    """Renders a record in a template.

    Args:
        task: the record's task.
        record: the record.
        template: the template's number.
        reference: which of the record's answers is the target.
        exemplars: records of the same task to show first.
    """
    wording = task.templates[template]
    values = _values(task, record, reference)
    inputs = wording.render_inputs(values)
    targets = wording.render_targets(values)
    if exemplars:
        shown = []
        for exemplar in exemplars:
            theirs = _values(task, exemplar, 0)
            shown.append(
                f"{wording.render_inputs(theirs)}{CUE} {wording.render_targets(theirs)}{SEPARATOR}"
            )
        inputs = f"{''.join(shown)}{inputs}{CUE}"
    options: tuple[str, ...] = ()
    references = (targets,)
    if not wording.inverted:
        fill = wording.render_targets
        # Options after the gold rationale can't be ranked: it gives the answer away.
        if record.options and not task.asks_rationale(wording):
            options = tuple(fill({**values, ANSWER: option}) for option in record.options)
        if len(record.answers) > 1:
            references = tuple(fill({**values, ANSWER: answer}) for answer in record.answers)
    return TextExample(
        spans=(Span(inputs, False), Span(targets, True)),
        task=task.name,
        template=template,
        record=record.id,
        options=options,
        references=references,
        weight=record.weight,
        messages=record.messages,
    )


def answered(pair: TextExample, answer: str) -> TextExample:
    """Returns the example that has another answer as its targets."""
    return replace(pair, spans=(Span(pair.inputs, False), Span(answer, True)))


def _values(task: TaskSpec, record: Record, reference: int) -> Mapping[str, str]:
    values = {**record.fields, ANSWER: record.answers[reference]}
    if record.options:
        values[OPTIONS] = options_block(record.options)
        values[CHOICES] = choices_sentence(record.options)
    if task.rationale is not None:
        values[RATIONALE] = record.rationale
    return values


def eligible_templates(task: TaskSpec, record: Record, templates: Sequence[int]) -> tuple[int, ...]:
    """Those of `templates` whose fields the record has: optional ones and a rationale may lack."""
    if not task.optional and task.rationale is None:
        return tuple(templates)
    empty = {name for name in task.optional if not record.fields[name].strip()}
    if task.rationale is not None and not record.rationale:
        empty.add(RATIONALE)
    return tuple(number for number in templates if not task.templates[number].fields & empty)


def draw(
    task: TaskSpec, record: Record, templates: Sequence[int], seed: int, epoch: int
) -> tuple[int, int] | None:
    """Draws the template and the reference for a record in an epoch; None if no template fits."""
    eligible = eligible_templates(task, record, templates)
    if not eligible:
        return None
    number = fold(seed, "template", task.name, epoch, record.id)
    template = eligible[number % len(eligible)]
    reference = (number // len(eligible)) % len(record.answers)
    return template, reference
