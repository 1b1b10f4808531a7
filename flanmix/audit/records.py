"""What is wrong with prepared records: each is rendered in every template that it fits.

    record_problems(store, task)
    -> [Problem("copa", None, "train-17", "the answer 'first' is no option of ['one', 'two']")]

What only all records of a split show (one answer alone) is said of the split. What reads
unnaturally in many records (`{text}.` where most texts end with a full stop) is said
once; of one and the same problem a few records are named, the others counted.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from flanmix.audit.lint import Problem
from flanmix.audit.spacing import RecordSpacing
from flanmix.audit.split_faults import Answered, SplitFaults
from flanmix.data.render import eligible_templates, render
from flanmix.data.store.store import Store
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

_SHOWN = 3  # records named for one and the same problem; the others are counted
_BATCH = 256
_READ = 2048  # records of a split whose spacing is looked at: enough to see what comes often


def record_problems(store: Store, task: TaskSpec) -> list[Problem]:
    """Returns what is wrong with a task's files in the store, or else with its records."""
    if broken := store.verify(task):
        return [Problem(task.name, None, None, message) for message in broken]
    return _few_of_each(_record_problems(store, task))


def _record_problems(store: Store, task: TaskSpec) -> Iterator[Problem]:
    manifest = store.manifest(task)
    assert manifest is not None
    spacing = RecordSpacing(task)
    answered: Answered = {}
    empty = set(task.optional)
    for split in manifest.splits:
        reader = store.open(task, split)
        if not len(reader):
            yield Problem(task.name, None, None, f"split {split} is empty")
        whole = SplitFaults(task, split, answered)
        for start in range(0, len(reader), _BATCH):
            for record in reader.__getitems__(range(start, min(start + _BATCH, len(reader)))):
                if start < _READ:
                    spacing.add(record)
                whole.add(record)
                empty -= {name for name in empty if record.fields.get(name, "").strip()}
                for template, message in check_record(task, record):
                    yield Problem(task.name, template, record.id, message)
        for message in whole.problems():
            yield Problem(task.name, None, None, message)
    for name in sorted(empty):
        message = f"field '{name}' ({task.fields[name]}) is empty in every record: is it the path?"
        yield Problem(task.name, None, None, message)
    for template, message in spacing.problems():
        yield Problem(task.name, template, None, message)


def check_record(task: TaskSpec, record: Record) -> list[tuple[int | None, str]]:
    """Returns (template, message) for everything that is wrong with a record of a task."""
    messages: list[tuple[int | None, str]] = []
    if set(record.fields) != set(task.fields):
        return [(None, f"its fields are {sorted(record.fields)}, not {sorted(task.fields)}")]
    for name, text in record.fields.items():
        if not text.strip() and name not in task.optional:
            messages.append((None, f"field '{name}' is empty"))
    if not record.answers or not all(answer.strip() for answer in record.answers):
        return [*messages, (None, "its answer is missing or empty")]
    for answer in record.answers:
        if task.has_options and answer not in record.options:
            message = f"the answer '{answer[:80]}' is no option of {list(record.options)}"
            messages.append((None, message))
    if len(set(record.options)) < len(record.options):
        messages.append((None, f"two of its options are the same: {list(record.options)}"))
    fitting = eligible_templates(task, record, range(len(task.templates)))
    if not fitting:
        messages.append((None, "no template fits it: optional fields that they use are empty"))
    for template in fitting:
        try:
            pair = render(task, record, template)
        except (KeyError, IndexError) as error:
            messages.append((template, f"can't be rendered: {error!r}"))
            continue
        if not pair.targets.strip():
            messages.append((template, "its rendered target is empty"))
    return messages


def _few_of_each(problems: Iterable[Problem]) -> list[Problem]:
    """The first few of each kind of problem, and how many more there are."""
    seen: Counter[tuple[int | None, str]] = Counter()
    shown = []
    for problem in problems:
        kind = (problem.template, problem.message.split("'")[0].split("[")[0])
        if problem.record is None:
            shown.append(problem)
            continue
        seen[kind] += 1
        if seen[kind] <= _SHOWN:
            shown.append(problem)
    name = shown[0].task if shown else ""
    for (template, message), count in seen.items():
        if count > _SHOWN:
            more = f"{message.strip()} ...: {count - _SHOWN} more records"
            shown.append(Problem(name, template, None, more))
    return shown
