"""Puts a task's questions to a predictor: every record in every template, and what comes back.

    answered = ask(predictor, spec, records, (0, 1), report=lambda count: None)
    answered[0].pairs[0].inputs, answered[0].replies[0].text    -> "Is 7 even?...", "no"

A reply also says what was wrong with asking: an input that was truncated, options that are the same
tokens. Of those, none is an answer unless all of them are right.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flanmix.console import warn
from flanmix.data.render import TextExample, eligible_templates, render
from flanmix.errors import UserError
from flanmix.evaluate.predictor import Choice, Predictor
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

NO_ANSWER = ""  # what stands for an option that is the same tokens as one of the other kind
_CHUNK = 1024  # pairs that are rendered and computed at a time, and then reported


class Reply(NamedTuple):
    """What came back of one question, and what was wrong with asking it.

    Attributes:
        text: the answer; `NO_ANSWER` where it can't be told which option was chosen.
        normalized: the answer by mean log-likelihood; that of generation is `text` again.
        truncated: whether the input was truncated.
        targets_truncated: whether an option, or all that was asked for, was.
        equal: whether two of its options are the same tokens.
        unanswerable: whether every right option is the same tokens as a wrong one.
    """

    text: str
    normalized: str
    truncated: bool
    targets_truncated: bool
    equal: bool = False
    unanswerable: bool = False


@dataclass
class Answered:
    """The questions of one template with the replies to them, in order."""

    records: list[Record] = field(default_factory=list)
    pairs: list[TextExample] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """The answers."""
        return [reply.text for reply in self.replies]

    @property
    def answerable(self) -> bool:
        """Whether any of the questions can be answered rightly at all."""
        return not all(reply.unanswerable for reply in self.replies)


def ask(
    predictor: Predictor,
    spec: TaskSpec,
    records: Sequence[Record],
    templates: Sequence[int],
    *,
    report: Callable[[int], None],
) -> dict[int, Answered]:
    """Asks for every record in every template that fits it.

    Args:
        predictor: what answers.
        spec: the task.
        records: its records.
        templates: numbers of its templates.
        report: called with how many questions were answered since it was called last.

    Returns:
        What was answered, by template.

    Raises:
        UserError: no template fits any of the records; one that fits none is said.
    """
    answered = {number: Answered() for number in templates}
    questions = [
        (number, record)
        for number in templates
        for record in records
        if eligible_templates(spec, record, (number,))
    ]
    for start in range(0, len(questions), _CHUNK):
        chunk = questions[start : start + _CHUNK]
        pairs = [render(spec, record, number) for number, record in chunk]
        replies = _replies(predictor, spec, [record for _, record in chunk], pairs)
        for (number, record), pair, reply in zip(chunk, pairs, replies, strict=True):
            answered[number].records.append(record)
            answered[number].pairs.append(pair)
            answered[number].replies.append(reply)
        report(len(chunk))
    unfit = [str(number) for number in templates if not answered[number].pairs]
    if len(unfit) == len(templates) and unfit:
        raise UserError(
            f"task '{spec.name}': no template fits any of the {len(records)} records that are "
            "scored: the optional fields that they use are empty"
        )
    if unfit:
        warn(
            f"task '{spec.name}': template {', '.join(unfit)} fits none of the {len(records)} "
            "records that are scored, and has no score: the optional field that it uses is empty"
        )
    return answered


def _replies(
    predictor: Predictor, spec: TaskSpec, records: Sequence[Record], pairs: Sequence[TextExample]
) -> Iterator[Reply]:
    """What comes back of each pair."""
    if spec.has_options:
        for record, choice in zip(records, predictor.rank(pairs), strict=True):
            yield _reply(record, choice)
    else:
        for answer in predictor.generate(pairs):
            yield Reply(answer.text, answer.text, answer.truncated, answer.targets_truncated)


def _reply(record: Record, choice: Choice) -> Reply:
    """The option that was chosen, unless it can't be told from another one.

    Options that are the same tokens are one option: a wrong one, if any of them is wrong.
    """
    options, first = record.options, choice.first_equal
    if not first:
        texts = options[choice.option], options[choice.normalized]
        return Reply(*texts, choice.truncated, choice.targets_truncated)
    right = {same for same, option in zip(first, options, strict=True) if option in record.answers}
    wrong = {
        same for same, option in zip(first, options, strict=True) if option not in record.answers
    }
    told = [
        NO_ANSWER if first[chosen] in right & wrong else options[chosen]
        for chosen in (choice.option, choice.normalized)
    ]
    return Reply(
        told[0],
        told[1],
        choice.truncated,
        choice.targets_truncated,
        equal=True,
        unanswerable=right <= wrong,
    )
