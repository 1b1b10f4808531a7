"""What can be wrong with a task or a mixture, found without opening its dataset.

    lint_entry(catalogue.entries["toy"])
    -> [Problem("toy", 3, None, "its input promises options and lists none"), ...]

Reading a card stops at its first mistake; linting goes on, so that one run shows all of them. What
`load_card` refuses is a problem here too, beside what it lets through: wording that gives the
answer away, a field that no template uses, options that are promised and not listed, templates
that are too much alike (`variety.py`), unnatural spaces around fields (`spacing.py`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flanmix.audit.spacing import spacing_faults
from flanmix.audit.variety import FEWEST, variety_faults
from flanmix.data.answers import how_to_choose, two_readings
from flanmix.data.sources.api import source_of
from flanmix.errors import UserError, nearest
from flanmix.evaluate.metrics import METRICS
from flanmix.registry.catalogue import load_entry
from flanmix.registry.collections import Entry
from flanmix.registry.mixture import Mixture, TaskCatalogue, resolve
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import CHOICES, OPTIONS, RATIONALE, RESERVED, Template
from flanmix.registry.user_code import load_function
from flanmix.registry.yaml_file import read_yaml

_PROMISE = re.compile(
    r"\b(options|choices|choose (one|from|between|among)|which of (these|the following))\b", re.I
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        task: the task's or the mixture's name.
        template: the template's number, where it is about one.
        record: the record's id, where it is about one.
        message: one line.
    """

    task: str
    template: int | None
    record: str | None
    message: str


def lint_entry(entry: Entry) -> list[Problem]:
    """Returns everything that is wrong with a task."""
    try:
        if entry.lint_path is not None:
            wording = _lint_wording(entry.name, read_yaml(entry.lint_path))
            if wording:
                return wording
        task = load_entry(entry)
    except UserError as error:
        return [Problem(entry.name, None, None, str(error))]
    return lint_task(task)


def _lint_wording(name: str, body: Mapping[str, Any]) -> list[Problem]:
    """Mistakes of each template by itself, where `load_card` would stop at the first."""
    listed, fields = body.get("templates"), body.get("fields")
    if not isinstance(listed, list) or not isinstance(fields, dict | list):
        return []
    known = {str(field) for field in fields} | RESERVED
    if body.get("rationale"):
        known |= {RATIONALE}
    problems = []
    for number, item in enumerate(listed):
        try:
            template = Template(**item)
        except ValueError as error:
            problems.append(Problem(name, number, None, str(error)))
            continue
        except TypeError:  # not a mapping, or an unknown key: reading the card says it better
            continue
        for field in sorted(template.fields - known):
            hint = nearest(field, known) or f"; known: {', '.join(sorted(known))}"
            problems.append(Problem(name, number, None, f"field '{{{field}}}' is unknown{hint}"))
    return problems


def lint_task(task: TaskSpec) -> list[Problem]:
    """Returns what is wrong with a task that can be made."""
    messages: list[tuple[int | None, str]]
    messages = [(None, message) for message in _lint_whole(task)]
    seen: dict[tuple[str, str], int] = {}
    repeated = set()
    for number, template in enumerate(task.templates):
        messages += [(number, message) for message in _lint_template(task, template)]
        words = (" ".join(template.inputs.split()), " ".join(template.targets.split()))
        if words in seen:
            messages.append((number, f"has the same words as template {seen[words]}"))
            repeated.add(number)
        seen.setdefault(words, number)
    messages += [fault for fault in variety_faults(task.templates) if fault[0] not in repeated]
    return [Problem(task.name, number, None, message) for number, message in messages]


def _lint_whole(task: TaskSpec) -> list[str]:
    messages = []
    used = frozenset[str]().union(*(template.fields for template in task.templates))
    for field in task.fields:
        if field not in used:
            messages.append(f"field '{field}' is used by no template")
    if not task.forward_templates:
        messages.append("no template asks for the answer alone: nothing can be scored")
    messages += _lint_answer(task) + _lint_optional(task) + _lint_options(task)
    for metric in task.metrics:
        messages += _message(METRICS.__getitem__, metric)
    messages += _message(source_of, task)
    for reference in _functions(task):
        messages += _message(load_function, task.folder, reference, f"task '{task.name}'")
    return messages


def _lint_answer(task: TaskSpec) -> list[str]:
    """Options that a number may name in two ways, where nothing says in which."""
    if task.answer_form is not None or task.labels or not two_readings(task.options):
        return []
    return [
        f"a number as its answer may be the text or the number of one of {list(task.options)}: "
        f"write {how_to_choose(task.answer)}"
    ]


def _lint_optional(task: TaskSpec) -> list[str]:
    """Optional fields that an example needs after all."""
    forward = [task.templates[number] for number in task.forward_templates]
    if forward and all(template.fields & set(task.optional) for template in forward):
        names = ", ".join(f"'{name}'" for name in task.optional)
        return [
            f"no template does without {names}: records where optional fields are empty are lost"
        ]
    return []


def _lint_options(task: TaskSpec) -> list[str]:
    """A collection of templates that never shows what to choose from."""
    forward = [task.templates[number] for number in task.forward_templates]
    if not task.has_options or len(task.templates) < FEWEST:
        return []
    if any(_shows_options(task, template) for template in forward):
        return []
    return ["no template lists the options: how they are spelled is anybody's guess"]


def _functions(task: TaskSpec) -> list[str]:
    """The Python functions beside the card that it names."""
    source = [task.source.location] if task.source.kind == "python" else []
    return source + ([task.mapping] if task.mapping else [])


def _message(function: Any, *arguments: Any) -> list[str]:
    """What `function` complains of, if anything."""
    try:
        function(*arguments)
    except UserError as error:
        return [str(error)]
    return []


def _lint_template(task: TaskSpec, template: Template) -> list[str]:
    messages = []
    shown, asked = template.input_fields, template.target_fields
    if not template.inverted:
        for field in sorted(shown - RESERVED):
            if task.mapping is None and task.fields[field] == task.answer:
                messages.append(f"its input shows the answer: '{field}' is '{task.answer}'")
    for field in sorted((shown & asked) - RESERVED):
        messages.append(f"its input shows '{field}', which its target asks for")
    if not shown - {OPTIONS, CHOICES}:
        messages.append("its input has no field: every record would have the same input")
    if _promises_options(task, template):
        messages.append("its input promises options and lists none: add {options} or {choices}")
    if {OPTIONS, CHOICES} <= shown:
        messages.append("its input lists the options twice: {options} and {choices}")
    return messages + spacing_faults(template)


def _promises_options(task: TaskSpec, template: Template) -> bool:
    if not task.has_options or template.inverted or not _PROMISE.search(template.inputs):
        return False
    return not _shows_options(task, template)


def _shows_options(task: TaskSpec, template: Template) -> bool:
    """Whether what to choose from is in the input, as a list or in so many words."""
    if template.input_fields & {OPTIONS, CHOICES}:
        return True
    paths = task.option_fields if isinstance(task.option_fields, tuple) else ()
    if any(task.fields.get(field) in paths for field in template.input_fields):
        return True  # they are fields of their own, shown by name
    words = template.inputs.lower()
    return bool(task.options) and all(option.lower() in words for option in task.options)


def lint_mixture(name: str, catalogue: TaskCatalogue, broken: Sequence[str] = ()) -> list[Problem]:
    """Returns what is wrong with a mixture.

    Args:
        name: the mixture.
        catalogue: where it and its tasks are looked up.
        broken: names of tasks whose cards are already known to be wrong; a mixture that has one
            of them can't be looked at further, which is no problem of its own.
    """
    try:
        mixture = catalogue.mixture(name)
        members = {task for pattern in mixture.tasks for task in catalogue.expand(pattern)}
        if members & set(broken):
            return []
        resolved = resolve(mixture, catalogue, lambda task: None)
    except UserError as error:
        return [Problem(name, None, None, str(error))]
    messages = []
    for task in mixture.loss_weights:
        if task not in resolved.names:
            near = nearest(task, resolved.names)
            messages.append(f"loss_weights names '{task}', no member of it{near}")
    messages += _missing_templates(mixture.templates, resolved)
    return [Problem(name, None, None, message) for message in messages]


def _missing_templates(wanted: tuple[int, ...] | None, mixture: Mixture) -> list[str]:
    messages = []
    for task in mixture.tasks:
        missing = sorted(set(wanted or ()) - set(range(len(task.spec.templates))))
        if missing:
            messages.append(f"task '{task.spec.name}' has no template {missing[0]}")
    return messages
