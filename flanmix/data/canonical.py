"""From a raw record to canonical records.

    card:       fields: {text: review.body}   answer: label   options: [negative, positive]
    raw:        {"review": {"body": b"Lovely."}, "label": 1}
    canonical:  Record("train-0", {"text": "Lovely."}, ("positive",), ("negative", "positive"))

A path is a key of the raw record, or keys joined by dots; through a list it reads every element.
Texts may be bytes (UTF-8); numbers become their decimal form. An answer that is a whole number or a
truth value counts the options from 0; a text must be an option, or be named in `labels`. What a
card names besides is read by its path too: a rationale, a weight, messages (their `role` and
`content`; other keys of a message are not kept), metadata. Nothing is skipped silently: what does
not fit raises a `RecordError`. Only a card's mapping function drops a record, by returning None.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flanmix.errors import UserError, nearest
from flanmix.registry.record import ROLES, Message, Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import load_function

_LARGEST_WEIGHT = float(np.finfo(np.float32).max)  # loss weights are single precision


class RecordError(UserError):
    """A raw record that does not fit its card."""

    def __init__(self, task: TaskSpec, record_id: str, message: str) -> None:
        super().__init__(f"task '{task.name}', record {record_id}: {message}")


def canonicalize(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> list[Record]:
    """Turns one raw record into canonical records: one, or what the mapping function makes of it.

    Args:
        task: the task.
        raw: the raw record; values may be numpy's.
        record_id: its name, for the records and for messages.

    Raises:
        RecordError: when a field, the answer or the options are missing or do not fit.
    """
    rows: Sequence[Mapping[str, Any]] = [raw]
    if task.mapping is not None:
        function = load_function(task.folder, task.mapping, f"task '{task.name}'")
        try:
            mapped = function(_plain(raw))
        except Exception as error:
            raise RecordError(task, record_id, f"{task.mapping} fails: {error!r}") from error
        if mapped is None:
            return []
        rows = mapped if isinstance(mapped, list) else [mapped]
    if len(rows) == 1:
        return [_record(task, rows[0], record_id)]
    return [_record(task, row, f"{record_id}.{number}") for number, row in enumerate(rows)]


def _record(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> Record:
    fields = {}
    for name, path in task.fields.items():
        fields[name] = _text(task, record_id, f"field '{name}'", _read(task, record_id, raw, path))
        if not fields[name].strip() and name not in task.optional:
            message = (
                f"field '{name}' ({path}) is empty; name it under optional: or drop the record"
            )
            raise RecordError(task, record_id, message)
    options = _options(task, raw, record_id)
    answers = _answers(task, raw, record_id, options)
    return Record(
        id=record_id,
        fields=fields,
        answers=answers,
        options=options,
        messages=_messages(task, raw, record_id),
        rationale=_rationale(task, raw, record_id),
        weight=_weight(task, raw, record_id),
        metadata=_metadata(task, raw, record_id),
    )


def _options(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> tuple[str, ...]:
    if task.option_fields is None:
        return task.options
    if isinstance(task.option_fields, str):
        values = _read(task, record_id, raw, task.option_fields)
        if not isinstance(values, list):
            raise RecordError(task, record_id, f"options ({task.option_fields}) are no list")
    else:
        values = [_read(task, record_id, raw, path) for path in task.option_fields]
    options = tuple(_text(task, record_id, "an option", value) for value in values)
    if len(options) < 2 or not all(option.strip() for option in options):
        message = f"options are {list(options)}: at least two, none empty"
        raise RecordError(task, record_id, message)
    return options


def _answers(
    task: TaskSpec, raw: Mapping[str, Any], record_id: str, options: tuple[str, ...]
) -> tuple[str, ...]:
    value = _read(task, record_id, raw, task.answer)
    if not options:
        values = value if isinstance(value, list) else [value]
        texts = [_text(task, record_id, "the answer", item) for item in values]
        answers = tuple(dict.fromkeys(text for text in texts if text.strip()))
        if not answers:
            raise RecordError(task, record_id, f"the answer ({task.answer}) is empty")
        return answers
    if isinstance(value, list):
        raise RecordError(task, record_id, f"the answer ({task.answer}) is a list, not an option")
    if isinstance(value, int) and str(value) not in task.labels:
        if not 0 <= value < len(options):
            message = f"the answer ({task.answer}) is {int(value)}: no option has that number"
            raise RecordError(task, record_id, message)
        return (options[value],)
    text = _text(task, record_id, "the answer", value)
    answer = task.labels.get(text, text)
    if answer not in options:
        message = f"the answer '{answer[:80]}' is no option of {list(options)}"
        raise RecordError(task, record_id, message)
    return (answer,)


def _messages(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> tuple[Message, ...]:
    if task.messages is None:
        return ()
    value = _read(task, record_id, raw, task.messages)
    if not isinstance(value, list) or not value:
        what = "empty" if value == [] else "no list"
        raise RecordError(task, record_id, f"messages ({task.messages}) are {what}")
    return tuple(_message(task, record_id, number, turn) for number, turn in enumerate(value))


def _message(task: TaskSpec, record_id: str, number: int, turn: Any) -> Message:
    what = f"message {number} ({task.messages})"
    if not isinstance(turn, Mapping) or not {"role", "content"} <= set(turn):
        raise RecordError(task, record_id, f"{what} has no role and content")
    if turn["role"] not in ROLES:
        message = f"{what} has the role {str(turn['role'])[:80]!r}: one of {', '.join(ROLES)}"
        raise RecordError(task, record_id, message)
    content = _text(task, record_id, f"the content of {what}", turn["content"])
    if not content.strip():
        raise RecordError(task, record_id, f"the content of {what} is empty")
    return Message(turn["role"], content)


def _rationale(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> str:
    value = None if task.rationale is None else _read(task, record_id, raw, task.rationale)
    text = "" if value is None else _text(task, record_id, "the rationale", value)
    return text if text.strip() else ""


def _weight(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> float:
    if task.weight is None:
        return 1.0
    value = _read(task, record_id, raw, task.weight)
    try:
        weight = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not 0 <= weight <= _LARGEST_WEIGHT:
        message = (
            f"the weight ({task.weight}) is {str(value)[:80]!r}: it must be a number from 0 up"
        )
        raise RecordError(task, record_id, message)
    return weight


def _metadata(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> dict[str, Any]:
    found = {}
    for name, path in task.metadata.items():
        found[name] = _read(task, record_id, raw, path)
        try:
            text = json.dumps(found[name], allow_nan=False, ensure_ascii=False)
            survives = json.loads(text) == found[name]  # a number as a key would become a text
        except (TypeError, ValueError, RecursionError):
            survives = False
        if not survives:
            message = f"metadata '{name}' ({path}) can't be kept as JSON"
            raise RecordError(task, record_id, message)
    return found


def _read(task: TaskSpec, record_id: str, raw: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, as plain Python."""
    value: Any = raw
    if path in raw:
        return _plain(raw[path])
    for key in path.split("."):
        if isinstance(value, list):
            value = [item.get(key) if isinstance(item, Mapping) else None for item in value]
            missing = None in value
        else:
            missing = not isinstance(value, Mapping) or key not in value
            value = None if missing else _plain(value[key])
        if missing:
            near = nearest(path, [str(name) for name in raw])
            message = f"'{path}' is missing from the raw record{near}"
            raise RecordError(task, record_id, message)
    return value


def _plain(value: Any) -> Any:
    """Numpy's scalars and arrays as Python's, bytes as text, all the way down."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _text(task: TaskSpec, record_id: str, what: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    kind = "missing" if value is None else f"a {type(value).__name__}"
    raise RecordError(task, record_id, f"{what} is {kind}, not a text; a mapping can make one")
