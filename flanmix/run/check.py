"""`flanmix check`: what is wrong with tasks and mixtures, and with prepared records.

    task  template  record    problem
    rte          3  -         its input shows the answer: 'gold' is 'label'
    copa         -  train-17  the answer 'first' is no option of ['one', 'two']

Without a store only cards are read. With one, every prepared split is compared with its hash, and
every record is rendered in every template that it fits. What reads unnaturally in many records
(`{text}.` where most texts end with a full stop) is said once. With `--vocabulary`, a second
table says what of the templates it loses. Ends with 1 if there are problems.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flanmix.data.render import eligible_templates, render
from flanmix.data.slices import Part, parse_split
from flanmix.errors import UserError
from flanmix.run.table import print_json, printable, table
from flanmix.spec.catalogue import Catalogue, default_catalogue
from flanmix.spec.lint import Problem, expected_templates, lint_card, lint_mixture
from flanmix.spec.record import Record
from flanmix.spec.spacing import RecordSpacing
from flanmix.spec.task import TaskSpec

if TYPE_CHECKING:
    from flanmix.data.store import Store
    from flanmix.data.vocabulary_loss import VocabularyLoss

_SHOWN = 3  # records named for one and the same problem; the others are counted
_BATCH = 256
_READ = 2048  # records of a split whose spacing is looked at: enough to see what comes often


def main(args: argparse.Namespace) -> int:
    """Runs the verb; flags as in cli.py."""
    catalogue = default_catalogue()
    tasks, mixtures = _chosen(catalogue, args.names)
    specs, problems = _lint(catalogue, tasks, mixtures)
    if args.store is not None:
        problems += _check_store(args.store, specs, named=bool(args.names))
    checked = len(tasks) + len(mixtures)
    document: dict[str, Any] = {
        "checked": checked,
        "problems": [asdict(problem) for problem in problems],
    }
    if not args.json:
        _print(checked, problems)
    if args.vocabulary is not None:
        losses = _losses(specs, args.vocabulary)
        rows = [asdict(loss) for loss in losses]
        document["vocabulary"] = {"name": args.vocabulary, "tasks": rows}
        if not args.json:
            _print_losses(args.vocabulary, losses)
    if args.json:
        print_json(document)
    return 1 if problems else 0


def _chosen(catalogue: Catalogue, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the tasks and the mixtures to look at: everything, where none is named."""
    if not names:
        return catalogue.names(), catalogue.mixture_names()
    tasks: set[str] = set()
    for name in names:
        try:
            tasks.update(catalogue.expand(name))
        except UserError:
            if not catalogue.is_mixture(name):
                raise  # a mixture that is broken is what linting it will say
    return sorted(tasks), sorted(name for name in set(names) if catalogue.is_mixture(name))


def _print(checked: int, problems: Sequence[Problem]) -> None:
    rows = [(p.task, p.template, p.record, printable(p.message)) for p in problems]
    if rows:
        print(table(["task", "template", "record", "problem"], rows))
    found = (
        "no problems" if not rows else "1 problem" if len(rows) == 1 else f"{len(rows)} problems"
    )
    print(f"{checked} tasks and mixtures checked: {found}")


def _print_losses(name: str, losses: "Sequence[VocabularyLoss]") -> None:
    rows = [
        (loss.task, round(100 * loss.unknown_share, 2), loss.collapsed_pairs) for loss in losses
    ]
    print(f"\nlost in vocabulary '{name}', of the templates' own characters:")
    print(table(["task", "lost %", "pairs of templates made the same"], rows))


# ---- cards -------------------------------------------------------------------------------------


def _lint(
    catalogue: Catalogue, tasks: Sequence[str], mixtures: Sequence[str]
) -> tuple[list[TaskSpec], list[Problem]]:
    """The tasks whose cards can be read, and everything that is wrong with cards and mixtures."""
    collections = {catalogue.paths[name].parts[-3] for name in tasks}
    siblings = [n for n, path in catalogue.paths.items() if path.parts[-3] in collections]
    readable = {spec.name: spec for spec in _readable(catalogue, siblings)}
    expected = expected_templates(readable.values())
    problems: list[Problem] = []
    for name in tasks:
        path = catalogue.paths[name]
        problems += lint_card(path, expected.get(path.parts[-3], 0))
        if name in readable:
            problems += _lint_splits(readable[name])
    broken = [name for name in siblings if name not in readable]
    for name in mixtures:
        problems += lint_mixture(name, catalogue, broken)
    return [readable[name] for name in tasks if name in readable], problems


def _readable(catalogue: Catalogue, names: Iterable[str]) -> Iterator[TaskSpec]:
    for name in names:
        try:
            yield catalogue.task(name)
        except UserError:
            continue  # linting its card says what is wrong


def _lint_splits(spec: TaskSpec) -> list[Problem]:
    """Malformed split expressions, and splits that share rows."""
    parts: dict[str, tuple[Part, ...]] = {}
    messages = []
    for split, expression in spec.splits.items():
        try:
            parts[split] = parse_split(expression) if expression else ()
        except ValueError as error:
            # TFDS and SeqIO have more forms than ours; whatever they are, they read them.
            if spec.source.kind not in ("tfds", "seqio"):
                messages.append(f"{split}: {error}")
    for (one, its), (other, theirs) in combinations(parts.items(), 2):
        if any(_overlap(a, b) for a in its for b in theirs):
            both = f"{spec.splits[one]} and {spec.splits[other]}"
            messages.append(f"splits {one} and {other} share rows: {both}")
    return [Problem(spec.name, None, None, message) for message in messages]


def _overlap(one: Part, other: Part) -> bool:
    """Whether two parts share rows in every dataset that is large enough."""
    large = 10**9
    (a, b), (c, d) = (part.range(large, lambda message: None) for part in (one, other))
    return one.name == other.name and max(a, c) < min(b, d)


# ---- vocabulary --------------------------------------------------------------------------------


def _losses(specs: Sequence[TaskSpec], name: str) -> "list[VocabularyLoss]":
    from flanmix.data.vocabulary import load_vocabulary
    from flanmix.data.vocabulary_loss import vocabulary_loss

    vocabulary = load_vocabulary(name)
    return [vocabulary_loss(spec, vocabulary) for spec in specs]


# ---- records -----------------------------------------------------------------------------------


def _check_store(folder: str, specs: Sequence[TaskSpec], named: bool) -> list[Problem]:
    from flanmix.data.store import Store

    if not Path(folder).is_dir():
        raise UserError(f"store {folder} is no folder; flanmix prepare makes one")
    store = Store(folder)
    prepared = set(store.tasks())
    if not named:
        absent = [spec.name for spec in specs if spec.name not in prepared]
        if absent:
            print(f"flanmix: not in the store, so not looked at: {len(absent)}", file=sys.stderr)
        specs = [spec for spec in specs if spec.name in prepared]
    problems = []
    for spec in specs:
        broken = store.verify(spec)
        problems += [Problem(spec.name, None, None, message) for message in broken]
        if not broken:
            problems += _few_of_each(_record_problems(store, spec))
    return problems


def _record_problems(store: "Store", spec: TaskSpec) -> Iterator[Problem]:
    manifest = store.manifest(spec)
    assert manifest is not None
    spacing = RecordSpacing(spec)
    for split in manifest.splits:
        reader = store.open(spec, split)
        if not len(reader):
            yield Problem(spec.name, None, None, f"split {split} is empty")
        for start in range(0, len(reader), _BATCH):
            for record in reader.__getitems__(range(start, min(start + _BATCH, len(reader)))):
                if start < _READ:
                    spacing.add(record)
                for template, message in check_record(spec, record):
                    yield Problem(spec.name, template, record.id, message)
    for template, message in spacing.problems():
        yield Problem(spec.name, template, None, message)


def check_record(spec: TaskSpec, record: Record) -> list[tuple[int | None, str]]:
    """Returns (template, message) for everything that is wrong with a record of a task."""
    messages: list[tuple[int | None, str]] = []
    if set(record.fields) != set(spec.fields):
        return [(None, f"its fields are {sorted(record.fields)}, not {sorted(spec.fields)}")]
    for name, text in record.fields.items():
        if not text.strip() and name not in spec.optional:
            messages.append((None, f"field '{name}' is empty"))
    if not record.answers or not all(answer.strip() for answer in record.answers):
        return [*messages, (None, "its answer is missing or empty")]
    for answer in record.answers:
        if spec.has_options and answer not in record.options:
            message = f"the answer '{answer[:80]}' is no option of {list(record.options)}"
            messages.append((None, message))
    if len(set(record.options)) < len(record.options):
        messages.append((None, f"two of its options are the same: {list(record.options)}"))
    fitting = eligible_templates(spec, record, range(len(spec.templates)))
    if not fitting:
        messages.append((None, "no template fits it: optional fields that they use are empty"))
    for template in fitting:
        try:
            pair = render(spec, record, template)
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
