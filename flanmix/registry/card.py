r"""A card: one YAML file that is one complete task.

    name: rte                                   # the file is rte.yaml
    version: 1
    kind: classification                        # or generation
    source: {tfds: "super_glue/rte:1.0.2"}      # or jsonl, tsv, csv, seqio, python, a plugin's
    splits: {train: "train[:-200]", validation: "train[-200:]", test: validation}
    fields: {premise: premise, hypothesis: hypothesis}
    answer: label
    options: ["yes", "no"]                      # or {field: choices.text}, {fields: [a, b]}
    templates:
      - inputs: "{premise}\nDoes it follow that {hypothesis}?\n{options}"
      - inputs: "Write a claim; that it follows from the text must be {answer}.\n{premise}"
        targets: "{hypothesis}"
        inverted: true
    metrics: [accuracy]

`answer: path` takes a number for an option's index, from 0, where nothing else can be meant.
`answer: {index: path}` says so, `{index: path, first: 1}` counts from 1, and `{text: path}` means
the option of that text. `labels: {entailment: "yes", 1: "no"}` maps the source's words to options.

`fields` may also be a list of names that are keys of the raw record. `map: file.py:function` names
a function beside the card; `answer` is then `answer` unless the card says otherwise. Collection and
cluster are the names of the folders: `tasks/<collection>/<cluster>/<name>.yaml`.

What only some datasets have is named by its path too: `rationale: explanation` (the reasoning, for
`{rationale}` in templates), `weight: score` (factor of the example's loss), `messages: turns` (a
conversation, a list of `{role, content}`), `metadata: [url]` or `{link: url}` (kept, not rendered).

`like: anli_r1` takes from the card of that name in the same folder every key that this one does not
give: for the parts of one dataset, which differ in source and splits and share their templates.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from flanmix.errors import UserError, nearest
from flanmix.registry.task import AnswerForm, Source, TaskSpec
from flanmix.registry.template import Template
from flanmix.registry.yaml_file import read_yaml

KEYS = [
    "name",
    "like",
    "version",
    "kind",
    "source",
    "splits",
    "fields",
    "answer",
    "options",
    "labels",
    "map",
    "optional",
    "rationale",
    "weight",
    "messages",
    "metadata",
    "templates",
    "metrics",
]
REQUIRED = ("name", "version", "kind", "source", "splits", "fields", "templates", "metrics")
_TEMPLATE_KEYS = ("inputs", "targets", "inverted")
_TRUTHS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}  # one key in YAML

# For the reference (`flanmix help`), what TaskSpec does not say of the keys: a field's other name,
# the forms that a value has in YAML, a default of the card's own, the key that no field holds.
FIELDS = {"map": "mapping"}
FORMS = {
    "like": "text",
    "source": "mapping: {KIND: location, setting: value}",
    "fields": "mapping of names to paths, or list of paths",
    "answer": "path, or {index: path, first: 0 or 1}, or {text: path}",
    "options": "list of texts, or {field: path}, or {fields: [path, path]}",
    "labels": "mapping of answers in the raw record to options",
    "map": "text: file.py:function",
    "metadata": "mapping of names to paths, or list of paths",
    "templates": "list of {inputs: text, targets: text, inverted: true or false}",
}
DEFAULTS = {"like": "null", "answer": "answer, if the card has a map; else required"}
MEANINGS = {"like": "another card of the same folder, which gives every key that this one does not"}


def load_card(path: Path) -> TaskSpec:
    """Reads a card.

    Raises:
        UserError: one line that names the file, and the template where there is one.
    """
    body = read_yaml(path)
    if "like" in body:
        body = {**_model_of(path, body), **body}
    check_keys(body, KEYS, REQUIRED, str(path))
    try:
        return _task(body, path)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}") from error


def _model_of(path: Path, body: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the card that this one is like."""
    other = path.with_name(f"{body['like']}.yaml")
    if not other.is_file():
        near = nearest(str(body["like"]), [card.stem for card in path.parent.glob("*.yaml")])
        raise UserError(f"{path}: like is '{body['like']}': there is no {other}{near}")
    model = read_yaml(other)
    if "like" in model:
        raise UserError(f"{path}: like is '{body['like']}', which is like '{model['like']}' itself")
    return model


def check_keys(
    body: Mapping[str, Any], known: tuple[str, ...] | list[str], required: tuple[str, ...], at: str
) -> None:
    """Raises a UserError for a key that is unknown or missing; `at` says where."""
    for key in body:
        if key not in known:
            raise UserError(f"{at}: key '{key}' is unknown{nearest(str(key), known)}")
    for key in required:
        if key not in body:
            raise UserError(f"{at}: key '{key}' is missing")


def _task(body: dict[str, Any], path: Path) -> TaskSpec:
    if body["name"] != path.stem:
        raise ValueError(f"name is '{body['name']}': it must be the file's, '{path.stem}'")
    if "answer" not in body and "map" not in body:
        raise ValueError("key 'answer' is missing")
    options, option_fields = _options(body.get("options"))
    fields = body["fields"]
    if isinstance(fields, list):
        fields = {name: name for name in fields}
    answer, form, first = _answer(body.get("answer", "answer"))
    return TaskSpec(
        name=body["name"],
        collection=path.parent.parent.name,
        cluster=path.parent.name,
        version=body["version"],
        kind=body["kind"],
        source=_source(body["source"]),
        splits=_texts(body["splits"], "splits", optional=True),
        fields=_texts(fields, "fields"),
        answer=answer,
        answer_form=form,
        answer_first=first,
        options=options,
        option_fields=option_fields,
        labels=_labels(body.get("labels", {}), options),
        mapping=body.get("map"),
        optional=_names(body.get("optional", []), "optional"),
        rationale=_path(body, "rationale"),
        weight=_path(body, "weight"),
        messages=_path(body, "messages"),
        metadata=_metadata(body.get("metadata", {})),
        templates=_templates(body["templates"]),
        metrics=_names(body["metrics"], "metrics"),
        folder=path.parent,
    )


def _source(body: Any) -> Source:
    """The kind is the first key with a text; the other keys are settings of its reader."""
    kinds = [k for k, v in body.items() if isinstance(v, str)] if isinstance(body, dict) else []
    if not kinds or not all(isinstance(key, str) for key in body):
        raise ValueError(f"source is {body!r}: write the kind and its location, {{jsonl: folder}}")
    return Source(kinds[0], body[kinds[0]], {k: v for k, v in body.items() if k != kinds[0]})


def _options(body: Any) -> tuple[tuple[str, ...], str | tuple[str, ...] | None]:
    if body is None:
        return (), None
    if isinstance(body, list):
        return _names(body, "options"), None
    if isinstance(body, dict) and list(body) == ["field"] and isinstance(body["field"], str):
        return (), body["field"]
    if isinstance(body, dict) and list(body) == ["fields"]:
        return (), _names(body["fields"], "options.fields")
    raise ValueError(f"options is {body!r}: a list, {{field: path}} or {{fields: [path, path]}}")


def _answer(body: Any) -> tuple[str, AnswerForm | None, int]:
    """The answer's path, how it is read, and the first option's number."""
    if isinstance(body, str) and body:
        return body, None, 0
    forms = [form for form in get_args(AnswerForm) if isinstance(body, dict) and form in body]
    known = {*forms, "first"} if forms == ["index"] else {*forms}
    if len(forms) != 1 or set(body) - known or not _is_path(body[forms[0]]):
        raise ValueError(
            f"answer is {body!r}: a path, {{index: path}}, {{index: path, first: 1}} or "
            "{text: path}"
        )
    return body[forms[0]], forms[0], body.get("first", 0)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _labels(body: Any, options: tuple[str, ...]) -> dict[str, str]:
    """Raw answer -> option; what YAML reads as truth values and numbers are texts again."""
    if not isinstance(body, dict):
        raise ValueError(f"labels is {body!r}: it must map raw answers to options")
    labels: dict[str, str] = {}
    for raw, option in body.items():
        if not isinstance(raw, str | int | float):
            raise ValueError(f"labels: {raw!r} is no text, number or truth value; quote it")
        for key in _TRUTHS[raw] if isinstance(raw, bool) else (str(raw),):
            if key in labels:
                raise ValueError(f"labels: '{key}' is given twice, as a text and not as one")
            labels[key] = _option_named(option, options)
    return labels


def _option_named(value: Any, options: tuple[str, ...]) -> str:
    """An option as a label names it: `yes` without quotes is the option "yes" too."""
    if isinstance(value, bool):
        meant = [option for option in options if option.lower() in _TRUTHS[value]]
        if len(meant) == 1:
            return meant[0]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"labels: {value!r} must be one of the options; quote it")
    return str(value)


def _path(body: Mapping[str, Any], key: str) -> str | None:
    path = body.get(key)
    if path is not None and not _is_path(path):
        raise ValueError(f"{key} is {path!r}: it must be a path in the raw record")
    return path


def _metadata(body: Any) -> dict[str, str]:
    """Name -> path; a list names each by its path."""
    if isinstance(body, list):
        return {path: path for path in _names(body, "metadata")}
    return _texts(body, "metadata")


def _templates(body: Any) -> tuple[Template, ...]:
    if not isinstance(body, list):
        raise ValueError("templates is no list")
    templates = []
    for number, item in enumerate(body):
        if not isinstance(item, dict) or "inputs" not in item:
            raise ValueError(f"template {number}: has no inputs")
        if unknown := [key for key in item if key not in _TEMPLATE_KEYS]:
            near = nearest(str(unknown[0]), _TEMPLATE_KEYS)
            raise ValueError(f"template {number}: key '{unknown[0]}' is unknown{near}")
        try:
            templates.append(Template(**item))
        except ValueError as error:
            raise ValueError(f"template {number}: {error}") from None
    return tuple(templates)


def _texts(body: Any, key: str, optional: bool = False) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ValueError(f"{key} is {body!r}: it must map names to texts")
    for name, value in body.items():
        if not isinstance(name, str) or not (isinstance(value, str) or (optional and not value)):
            raise ValueError(f"{key}: {name!r}: {value!r} must be texts; quote them")
    return body


def _names(body: Any, key: str) -> tuple[str, ...]:
    if not isinstance(body, list) or not all(isinstance(item, str) for item in body):
        raise ValueError(
            f"{key} is {body!r}: it must be a list of texts; quote yes, no and numbers"
        )
    return tuple(body)
