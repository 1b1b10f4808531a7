"""From a raw record to canonical records.

    card:       fields: {text: review.body}   answer: label   options: [negative, positive]
    raw:        {"review": {"body": b"Lovely."}, "label": 1}
    canonical:  Record("train-0", {"text": "Lovely."}, ("positive",), ("negative", "positive"))

A path is a key of the raw record, or keys joined by dots; through a list it reads every element.
Texts may be bytes (UTF-8); numbers become their shortest decimal form. Which option an answer means
is said in `answers`. A null, a NaN and a key that is not there are one thing, absent: an optional
field is empty then, a rationale too, and anything else is an error; infinity is no value at all.
What a card names besides is read by its path too: a rationale, a weight, messages (their `role` and
`content`; other keys of a message are not kept), metadata. Nothing is skipped silently: what does
not fit raises a `RecordError`. Only a card's mapping function drops a record, by returning None.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flanmix.data.answers import option_meant
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
        given = {key: _decoded(task, record_id, key, value) for key, value in raw.items()}
        try:
            mapped = function(given)
        except Exception as error:
            raise RecordError(task, record_id, f"{task.mapping} fails: {error!r}") from error
        if mapped is None:
            return []
        rows = mapped if isinstance(mapped, list) else [mapped]
    if len(rows) == 1:
        return [_record(task, rows[0], record_id)]
    return [_record(task, row, f"{record_id}.{number}") for number, row in enumerate(rows)]


def _record(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> Record:
    fields = {name: _field(task, raw, record_id, name) for name in task.fields}
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


def _field(task: TaskSpec, raw: Mapping[str, Any], record_id: str, name: str) -> str:
    path, optional = task.fields[name], name in task.optional
    value = _read(task, record_id, raw, path)
    if optional and _absent(value):
        return ""
    if value is _MISSING:
        value = _required(task, record_id, raw, path)
    text = _text(task, record_id, f"field '{name}'", value)
    if not text.strip() and not optional:
        message = f"field '{name}' ({path}) is empty; name it under optional: or drop the record"
        raise RecordError(task, record_id, message)
    return text


def _options(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> tuple[str, ...]:
    if task.option_fields is None:
        return task.options
    if isinstance(task.option_fields, str):
        values = _required(task, record_id, raw, task.option_fields)
        if not isinstance(values, list):
            raise RecordError(task, record_id, f"options ({task.option_fields}) are no list")
    else:
        values = [_required(task, record_id, raw, path) for path in task.option_fields]
    options = tuple(_text(task, record_id, "an option", value) for value in values)
    if len(options) < 2 or not all(option.strip() for option in options):
        message = f"options are {list(options)}: at least two, none empty"
        raise RecordError(task, record_id, message)
    return options


def _answers(
    task: TaskSpec, raw: Mapping[str, Any], record_id: str, options: tuple[str, ...]
) -> tuple[str, ...]:
    value = _required(task, record_id, raw, task.answer)
    values = value if isinstance(value, list) else [value]
    texts = [_text(task, record_id, "the answer", item) for item in values]
    if not any(text.strip() for text in texts):
        raise RecordError(task, record_id, f"the answer ({task.answer}) is empty")
    if not options:
        return tuple(dict.fromkeys(text for text in texts if text.strip()))
    if isinstance(value, list):
        raise RecordError(task, record_id, f"the answer ({task.answer}) is a list, not an option")
    try:
        return (option_meant(task, value, options),)
    except ValueError as error:
        raise RecordError(task, record_id, str(error)) from None


def _messages(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> tuple[Message, ...]:
    if task.messages is None:
        return ()
    value = _required(task, record_id, raw, task.messages)
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
    text = "" if _absent(value) else _text(task, record_id, "the rationale", value)
    return text if text.strip() else ""


def _weight(task: TaskSpec, raw: Mapping[str, Any], record_id: str) -> float:
    if task.weight is None:
        return 1.0
    value = _required(task, record_id, raw, task.weight)
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
        found[name] = _required(task, record_id, raw, path)
        try:
            text = json.dumps(found[name], allow_nan=False, ensure_ascii=False)
            survives = json.loads(text) == found[name]  # a number as a key would become a text
        except (TypeError, ValueError, RecursionError):
            survives = False
        if not survives:
            message = f"metadata '{name}' ({path}) can't be kept as JSON"
            raise RecordError(task, record_id, message)
    return found


# ---- values --------------------------------------------------------------------------------------

_MISSING = object()


def _required(task: TaskSpec, record_id: str, raw: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, which must be there."""
    value = _read(task, record_id, raw, path)
    if value is _MISSING:
        near = nearest(path, [str(name) for name in raw])
        raise RecordError(task, record_id, f"'{path}' is missing from the raw record{near}")
    return value


def _read(task: TaskSpec, record_id: str, raw: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, as plain Python; `_MISSING` where there is none."""
    if path in raw:
        return _decoded(task, record_id, path, raw[path])
    value: Any = raw
    for key in path.split("."):
        if isinstance(value, list):
            value = [item.get(key) if isinstance(item, Mapping) else None for item in value]
            if None in value:
                return _MISSING
        elif not isinstance(value, Mapping) or key not in value:
            return _MISSING
        else:
            value = _decoded(task, record_id, path, value[key])
    return value


def _absent(value: Any) -> bool:
    """Whether there is no value: no key, a null or a NaN."""
    return value is _MISSING or value is None or (isinstance(value, float) and math.isnan(value))


def _decoded(task: TaskSpec, record_id: str, path: str, value: Any) -> Any:
    try:
        return _plain(value)
    except UnicodeDecodeError as error:
        message = f"'{path}' is not UTF-8 (byte {error.start})"
        raise RecordError(task, record_id, message) from None


def _plain(value: Any) -> Any:
    """Numpy's scalars and arrays as Python's, bytes as text, all the way down."""
    if hasattr(value, "tolist"):
        kind = getattr(value, "dtype", None)
        narrow = kind is not None and kind.kind == "f" and kind.itemsize < np.float64().itemsize
        value = _shortest(value) if narrow else value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _shortest(value: Any) -> Any:
    """Single precision by its own decimals: 3.8, and not the double 3.799999952316284."""
    return np.asarray(value).astype("U").astype(np.float64).tolist()


def _text(task: TaskSpec, record_id: str, what: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isinf(value):
        raise RecordError(task, record_id, f"{what} is infinite, which is no value to learn from")
    if isinstance(value, bool | int | float) and not _absent(value):
        return str(value)
    kind = "missing" if _absent(value) else f"a {type(value).__name__}"
    raise RecordError(task, record_id, f"{what} is {kind}, not a text; a mapping can make one")
