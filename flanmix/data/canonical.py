"""From a raw record to canonical records.

    card:       fields: {text: review.body}   answer: label   options: [negative, positive]
    raw:        {"review": {"body": b"Lovely."}, "label": 1}
    canonical:  Record("train-0", {"text": "Lovely."}, ("positive",), ("negative", "positive"))

A path is a key of the raw record, or keys joined by dots; through a list it reads every element.
Texts may be bytes (UTF-8); numbers become their decimal form. An answer that is a whole number or a
truth value counts the options from 0; a text must be an option, or be named in `labels`. Nothing
is skipped silently: what does not fit raises a `RecordError`. Only a card's own mapping function
drops a record, by returning None.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flanmix.errors import UserError, nearest
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import load_function


class RecordError(UserError):
    """A raw record that does not fit its card."""

    def __init__(self, spec: TaskSpec, record_id: str, message: str) -> None:
        super().__init__(f"task '{spec.name}', record {record_id}: {message}")


def canonicalize(spec: TaskSpec, raw: Mapping[str, Any], record_id: str) -> list[Record]:
    """Turns one raw record into canonical records: one, or what the mapping function makes of it.

    Args:
        spec: the task.
        raw: the raw record; values may be numpy's.
        record_id: its name, for the records and for messages.

    Raises:
        RecordError: when a field, the answer or the options are missing or do not fit.
    """
    rows: Sequence[Mapping[str, Any]] = [raw]
    if spec.mapping is not None:
        function = load_function(spec.folder, spec.mapping, spec.name)
        try:
            mapped = function(_plain(raw))
        except Exception as error:
            raise RecordError(spec, record_id, f"{spec.mapping} fails: {error!r}") from error
        if mapped is None:
            return []
        rows = mapped if isinstance(mapped, list) else [mapped]
    if len(rows) == 1:
        return [_record(spec, rows[0], record_id)]
    return [_record(spec, row, f"{record_id}.{number}") for number, row in enumerate(rows)]


def _record(spec: TaskSpec, raw: Mapping[str, Any], record_id: str) -> Record:
    fields = {}
    for name, path in spec.fields.items():
        fields[name] = _text(spec, record_id, f"field '{name}'", _read(spec, record_id, raw, path))
        if not fields[name].strip() and name not in spec.optional:
            message = (
                f"field '{name}' ({path}) is empty; name it under optional: or drop the record"
            )
            raise RecordError(spec, record_id, message)
    options = _options(spec, raw, record_id)
    answers = _answers(spec, raw, record_id, options)
    return Record(record_id, fields, answers, options)


def _options(spec: TaskSpec, raw: Mapping[str, Any], record_id: str) -> tuple[str, ...]:
    if spec.option_fields is None:
        return spec.options
    if isinstance(spec.option_fields, str):
        values = _read(spec, record_id, raw, spec.option_fields)
        if not isinstance(values, list):
            raise RecordError(spec, record_id, f"options ({spec.option_fields}) are no list")
    else:
        values = [_read(spec, record_id, raw, path) for path in spec.option_fields]
    options = tuple(_text(spec, record_id, "an option", value) for value in values)
    if len(options) < 2 or not all(option.strip() for option in options):
        message = f"options are {list(options)}: at least two, none empty"
        raise RecordError(spec, record_id, message)
    return options


def _answers(
    spec: TaskSpec, raw: Mapping[str, Any], record_id: str, options: tuple[str, ...]
) -> tuple[str, ...]:
    value = _read(spec, record_id, raw, spec.answer)
    if not options:
        values = value if isinstance(value, list) else [value]
        texts = [_text(spec, record_id, "the answer", item) for item in values]
        answers = tuple(dict.fromkeys(text for text in texts if text.strip()))
        if not answers:
            raise RecordError(spec, record_id, f"the answer ({spec.answer}) is empty")
        return answers
    if isinstance(value, list):
        raise RecordError(spec, record_id, f"the answer ({spec.answer}) is a list, not an option")
    if isinstance(value, int) and str(value) not in spec.labels:
        if not 0 <= value < len(options):
            message = f"the answer ({spec.answer}) is {int(value)}: no option has that number"
            raise RecordError(spec, record_id, message)
        return (options[value],)
    text = _text(spec, record_id, "the answer", value)
    answer = spec.labels.get(text, text)
    if answer not in options:
        message = f"the answer '{answer[:80]}' is no option of {list(options)}"
        raise RecordError(spec, record_id, message)
    return (answer,)


def _read(spec: TaskSpec, record_id: str, raw: Mapping[str, Any], path: str) -> Any:
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
            raise RecordError(spec, record_id, message)
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


def _text(spec: TaskSpec, record_id: str, what: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    kind = "missing" if value is None else f"a {type(value).__name__}"
    raise RecordError(spec, record_id, f"{what} is {kind}, not a text; a mapping can make one")
