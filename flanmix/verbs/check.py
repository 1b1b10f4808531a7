"""`flanmix check`: what is wrong with tasks and mixtures, and with prepared records.

    task  template  record    problem
    rte          3  -         its input shows the answer: 'gold' is 'label'
    copa         -  train-17  the answer 'first' is no option of ['one', 'two']

Without a store only cards are read. With one, every prepared split is compared with its hash, and
every record is rendered in every template that it fits. What reads unnaturally in many records
(`{text}.` where most texts end with a full stop) is said once. With `--vocabulary`, a second
table says what of the templates it loses, and options that are the same ids in it are a problem; of
options that each record has itself, with a store. Ends with 1 if there are problems.
"""

import argparse
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flanmix.audit.lint import Problem, lint_entry, lint_mixture
from flanmix.audit.splits import lint_splits
from flanmix.console import print_json, printable, say, table
from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue, default_catalogue
from flanmix.registry.task import TaskSpec

if TYPE_CHECKING:
    from flanmix.audit.vocabulary_loss import VocabularyLoss


def main(args: argparse.Namespace) -> int:
    """Runs the verb; flags as in cli.py."""
    catalogue = default_catalogue()
    tasks, mixtures = _chosen(catalogue, args.names)
    specs, problems = _lint(catalogue, tasks, mixtures)
    if args.store is not None:
        problems += _check_store(args.store, specs, named=bool(args.names))
    losses: "Sequence[VocabularyLoss]" = ()
    if args.vocabulary is not None:
        losses, same = _losses(specs, args.vocabulary, args.store)
        problems += same
    checked = len(tasks) + len(mixtures)
    document: dict[str, Any] = {
        "checked": checked,
        "problems": [asdict(problem) for problem in problems],
    }
    if not args.json:
        _print(checked, problems)
    if args.vocabulary is not None:
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


# ---- tasks -------------------------------------------------------------------------------------


def _lint(
    catalogue: Catalogue, tasks: Sequence[str], mixtures: Sequence[str]
) -> tuple[list[TaskSpec], list[Problem]]:
    """The tasks whose cards can be read, and everything that is wrong with cards and mixtures."""
    entries = [catalogue.entries[name] for name in tasks]
    collections = {entry.collection for entry in entries}
    siblings = [
        entry.name for entry in catalogue.entries.values() if entry.collection in collections
    ]
    readable = {task.name: task for task in _readable(catalogue, siblings)}
    problems: list[Problem] = []
    for entry in entries:
        problems += lint_entry(entry)
        if entry.name in readable:
            problems += lint_splits(readable[entry.name])
    broken = [name for name in siblings if name not in readable]
    for name in mixtures:
        problems += lint_mixture(name, catalogue, broken)
    return [readable[name] for name in tasks if name in readable], problems


def _readable(catalogue: Catalogue, names: Iterable[str]) -> Iterator[TaskSpec]:
    for name in names:
        try:
            yield catalogue.task(name)
        except UserError:
            continue  # linting it says what is wrong


# ---- vocabulary --------------------------------------------------------------------------------


def _losses(
    specs: Sequence[TaskSpec], name: str, folder: str | None
) -> "tuple[list[VocabularyLoss], list[Problem]]":
    from flanmix.audit.vocabulary_loss import option_problems, vocabulary_loss
    from flanmix.data.store.store import Store
    from flanmix.data.vocabulary import load_vocabulary

    vocabulary = load_vocabulary(name)
    store = None if folder is None else Store.existing(folder)
    problems = []
    for spec in specs:
        with contextlib.suppress(UserError):  # of records that can't be read; _check_store says it
            problems += option_problems(spec, vocabulary, store)
    return [vocabulary_loss(spec, vocabulary) for spec in specs], problems


# ---- records -----------------------------------------------------------------------------------


def _check_store(folder: str, specs: Sequence[TaskSpec], named: bool) -> list[Problem]:
    from flanmix.audit.records import record_problems
    from flanmix.data.store.store import Store

    store = Store.existing(folder)
    prepared = set(store.tasks())
    if not named:
        absent = [spec.name for spec in specs if spec.name not in prepared]
        if absent:
            say(f"not in the store, so not looked at: {len(absent)}")
        specs = [spec for spec in specs if spec.name in prepared]
    problems = []
    for spec in specs:
        problems += record_problems(store, spec)
    return problems
