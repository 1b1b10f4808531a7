r"""From a canonical record and a template to a text pair.

    record:    {"premise": "It rains.", "hypothesis": "It is wet."}, answer "yes", options yes, no
    template:  "{premise} Is it true that {hypothesis}\n{options}"  ->  "{answer}"
    pair:      inputs   "It rains. Is it true that It is wet.\nOptions:\n- yes\n- no"
               targets  "yes",  options ("yes", "no"),  references ("yes",)

Rendering is pure: the same arguments give the same text. Exemplars, records of the same task, come
before the query in the query's own template; each is followed by its target, and the query by the
same cue, so that what is asked for is plain:

    <inputs 1>\nAnswer: <targets 1>\n\n<inputs 2>\nAnswer: <targets 2>\n\n<query>\nAnswer:
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flanmix.data.randomness import fold
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import ANSWER, CHOICES, OPTIONS, choices_sentence, options_block

CUE = "\nAnswer:"
SEPARATOR = "\n\n"


@dataclass(frozen=True)
class TextPair:
    """One rendered example.

    Attributes:
        inputs: the text that the model reads.
        targets: the text that it learns to write.
        task: the task's name.
        template: the template's number.
        record: the record's id.
        options: the target of every answer option, in label order; empty where there are none or
            the template is inverted.
        references: all accepted targets, `targets` among them.
    """

    inputs: str
    targets: str
    task: str
    template: int
    record: str
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


def render(
    spec: TaskSpec,
    record: Record,
    template: int,
    *,
    reference: int = 0,
    exemplars: Sequence[Record] = (),
) -> TextPair:
    """Renders a record in a template.

    Args:
        spec: the record's task.
        record: the record.
        template: the template's number.
        reference: which of the record's answers is the target.
        exemplars: records of the same task to show first.
    """
    wording = spec.templates[template]
    values = _values(record, reference)
    inputs = wording.render_inputs(values)
    targets = wording.render_targets(values)
    if exemplars:
        shown = []
        for exemplar in exemplars:
            theirs = _values(exemplar, 0)
            shown.append(
                f"{wording.render_inputs(theirs)}{CUE} {wording.render_targets(theirs)}{SEPARATOR}"
            )
        inputs = f"{''.join(shown)}{inputs}{CUE}"
    options: tuple[str, ...] = ()
    references = (targets,)
    if not wording.inverted:
        fill = wording.render_targets
        options = tuple(fill({**values, ANSWER: option}) for option in record.options)
        if len(record.answers) > 1:
            references = tuple(fill({**values, ANSWER: answer}) for answer in record.answers)
    return TextPair(inputs, targets, spec.name, template, record.id, options, references)


def _values(record: Record, reference: int) -> Mapping[str, str]:
    values = {**record.fields, ANSWER: record.answers[reference]}
    if record.options:
        values[OPTIONS] = options_block(record.options)
        values[CHOICES] = choices_sentence(record.options)
    return values


def eligible_templates(spec: TaskSpec, record: Record, templates: Sequence[int]) -> tuple[int, ...]:
    """Those of `templates` whose fields the record has: an optional field may be empty."""
    if not spec.optional:
        return tuple(templates)
    empty = {name for name in spec.optional if not record.fields[name].strip()}
    return tuple(number for number in templates if not spec.templates[number].fields & empty)


def draw(
    spec: TaskSpec, record: Record, templates: Sequence[int], seed: int, epoch: int
) -> tuple[int, int] | None:
    """Draws the template and the reference for a record in an epoch; None if no template fits."""
    eligible = eligible_templates(spec, record, templates)
    if not eligible:
        return None
    number = fold(seed, "template", spec.name, epoch, record.id)
    template = eligible[number % len(eligible)]
    reference = (number // len(eligible)) % len(record.answers)
    return template, reference
