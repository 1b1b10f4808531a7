"""Which option a raw answer means: the one place where labels are read.

    options ["no", "yes"]     answer: label                       1, "1", 1.0, True -> "yes"
    options ["1", "2", "3"]   answer: {text: stars}               1, "1", 1.0       -> "1"
    options ["1", "2", "3"]   answer: {index: stars}              1, "1", 1.0       -> "2"
    options ["1", "2", "3"]   answer: {index: stars, first: 1}    1, "1", 1.0       -> "1"
    options ["1", "2", "3"]   answer: stars                       1                 -> ValueError

A number is what it is worth, however the source spells it: JSON's 1, a table's "1" and TFDS's int64
are the same answer. A bare path reads a number as an index only where no number can mean an option
in two ways; whether one can is decided by the options, not by the answer, so that a task is never
read half one way and half the other. A truth value means the option `true` or `yes` (`false` or
`no`), never an index. Spaces around an answer do not count.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from flanmix.registry.task import TaskSpec

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?\Z")
_PAIRS = ({"true": True, "false": False}, {"yes": True, "no": False})
_SHOWN = 300  # characters of a list of options in a message
_MEANINGS = _PAIRS[0] | _PAIRS[1] | {"on": True, "off": False}  # as YAML's keys may be spelled


def option_meant(task: TaskSpec, value: Any, options: Sequence[str]) -> str:
    """Returns the option that a raw answer means.

    Args:
        task: says how answers are read, and which labels stand for options.
        value: the answer as plain Python: a text, a number or a truth value.
        options: the record's options, in label order.

    Raises:
        ValueError: it means none, or could mean two.
    """
    number = number_of(value)
    text = (str(value).lower() if isinstance(value, bool) else str(value)).strip()
    if task.answer_form == "index":
        return _at_index(task, text, number, options, task.answer_first)
    for spelled in (value, text):
        if isinstance(spelled, str) and not isinstance(value, bool) and spelled in task.labels:
            return task.labels[spelled]
    if number is not None:
        labelled = {key: n for key in task.labels if (n := number_of(key)) is not None}
        return _label(task, text, labelled, number) or _numeric(task, text, number, options)
    if isinstance(value, str) and value in options:
        return value
    truth = value if isinstance(value, bool) else _MEANINGS.get(text.lower())
    if truth is not None:
        labelled = {key: t for key in task.labels if (t := _MEANINGS.get(key.lower())) is not None}
        if (found := _label(task, text, labelled, truth)) is not None:
            return found
    if text in (stripped := [option.strip() for option in options]):
        return options[stripped.index(text)]
    if isinstance(value, bool) or text.lower() in _PAIRS[0]:  # as tables spell a truth value
        return _truthful(task, text, bool(truth), options)
    raise ValueError(_no_option(text, options))


def number_of(value: Any) -> Decimal | None:
    """What a number or a text that spells one is worth; None for anything else."""
    if isinstance(value, bool):
        return None
    text = (str(value) if isinstance(value, int) else repr(value)) if _real(value) else value
    if not isinstance(text, str):
        return None
    text = text.strip()
    if _real(value) or _NUMBER.match(text):
        return Decimal(text)
    return None


def two_readings(options: Iterable[str], varying: bool = False) -> bool:
    """Whether a number may be one option's text and another one's index.

    Args:
        options: the options, in label order.
        varying: whether other records have others, so that what can't be in these may be in those:
            then any number among them that is not its own index is enough.
    """
    options = list(options)
    return any(
        number is not None and number != index and (varying or number in range(len(options)))
        for index, number in enumerate(map(number_of, options))
    )


def how_to_choose(path: str) -> str:
    """The forms of `answer:` that say what a number is."""
    return f"answer: {{text: {path}}}, {{index: {path}}} or {{index: {path}, first: 1}}"


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _at_index(
    task: TaskSpec, text: str, number: Decimal | None, options: Sequence[str], first: int
) -> str:
    last = first + len(options) - 1
    if number is not None and number in range(first, last + 1):
        return options[int(number) - first]
    what = f"the answer ({task.answer}) is {text[:80]}"
    if number is None:
        raise ValueError(f"{what}, no number, and the card reads it as an option's index")
    if number != number.to_integral_value():
        raise ValueError(f"{what}, which is no whole number, so no option's index")
    hint = ""
    if number == len(options) and first == 0:
        hint = f"; if it counts from 1, write answer: {{index: {task.answer}, first: 1}}"
    raise ValueError(f"{what}: no option has that number; they are {first} to {last}{hint}")


def _label(task: TaskSpec, text: str, labelled: Mapping[str, object], meant: object) -> str | None:
    """The option of the one label that means the same; None where no label is of that kind."""
    if not labelled:
        return None
    found = {task.labels[key] for key, meaning in labelled.items() if meaning == meant}
    if len(found) != 1:
        which = "more than one" if found else "none"
        known = ", ".join(labelled)
        raise ValueError(
            f"the answer ({task.answer}) is {text[:80]}, {which} of the labels {known}"
        )
    return found.pop()


def _numeric(task: TaskSpec, text: str, number: Decimal, options: Sequence[str]) -> str:
    """A number as an option's text or as an index, where it can't be either of two."""
    numbers = [number_of(option) for option in options]
    if task.answer_form is None and two_readings(options, varying=not task.options):
        raise ValueError(
            f"the answer ({task.answer}) is {text[:80]}, which may be the text or the number of "
            f"one of {_listed(options)}: write {how_to_choose(task.answer)}"
        )
    same = [option for option, n in zip(options, numbers, strict=True) if n == number]
    exact = [option for option in same if option.strip() == text]
    if len(set(same)) == 1 or exact:
        return (exact or same)[0]
    if same or task.answer_form == "text":
        raise ValueError(_no_option(text, options))
    return _at_index(task, text, number, options, 0)


def _truthful(task: TaskSpec, text: str, truth: bool, options: Sequence[str]) -> str:
    """The option that says true or yes, false or no, in its own spelling."""
    lowered = [option.strip().lower() for option in options]
    for pair in _PAIRS:
        if all(lowered.count(word) == 1 for word in pair):
            return options[lowered.index(next(word for word in pair if pair[word] is truth))]
    hint = "name it under labels:" if task.options else "make it an option with map:"
    raise ValueError(
        f"the answer ({task.answer}) is the truth value {text[:80]}, and {_listed(options)} has no "
        f"pair of true and false or yes and no: {hint}"
    )


def _no_option(text: str, options: Sequence[str]) -> str:
    return f"the answer '{text[:80]}' is no option of {_listed(options)}"


def _listed(options: Sequence[str]) -> str:
    text = str(list(options))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ...]"
