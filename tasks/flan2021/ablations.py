"""The paper's ablations, each a transform of a mixture: see mixtures.yaml.

    flan2021_clusters:3      clusters(mixture, "3"): the first three, in the paper's order
    flan2021_tasks:20        tasks(mixture, "20"): twenty tasks, among them those of `:10`
    flan2021_templates:4     templates(mixture, "4"): the first four templates of each task
    flan2021_plain           It rained.                             the fields alone
                             The street is wet.
    flan2021_names           [natural language inference: rte]      before them the names
                             It rained.
                             The street is wet.

Source: Wei et al. 2022, sections 4.1 to 4.3 ("role of instructions" is 4.3). The fields of `plain`
and `names` are those that every record has and that the task's own templates show when they ask for
the answer, in the card's order.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from flanmix.errors import UserError
from flanmix.registry.mixture import Mixture, MixtureTask
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template

ORDER = (
    "summarization",
    "translation",
    "reading_comprehension",
    "sentiment",
    "struct_to_text",
    "coreference",
    "conversational_qa",
)
# The paper counts these two as a cluster; their folder is `misc`.
CONVERSATIONAL_QA = {"coqa", "quac"}


def clusters(mixture: Mixture, argument: str | None) -> Mixture:
    """Keeps the tasks of the first clusters of `ORDER`."""
    first = ORDER[: _number(argument)]
    return mixture.only(lambda task: _cluster(task) in first)


def tasks(mixture: Mixture, argument: str | None) -> Mixture:
    """Keeps so many tasks.

    They are taken in the order of their names' hashes: the same in every mixture, so that five
    tasks are among the ten, and no other task's coming changes it.
    """
    drawn = sorted(mixture.names, key=lambda name: hashlib.sha256(name.encode()).digest())
    kept = drawn[: _number(argument)]
    return mixture.only(lambda task: task.spec.name in kept)


def templates(mixture: Mixture, argument: str | None) -> Mixture:
    """Keeps the first templates of each task."""
    return _each(mixture, lambda task: replace(task, templates=task.templates[: _number(argument)]))


def plain(mixture: Mixture, argument: str | None) -> Mixture:
    """Replaces every task's templates by its fields, without an instruction."""
    _no_argument(argument)
    return _each(mixture, lambda task: _reworded(task, ""))


def names(mixture: Mixture, argument: str | None) -> Mixture:
    """Replaces every task's templates by the names of cluster and dataset, and its fields."""
    _no_argument(argument)
    return _each(mixture, lambda task: _reworded(task, _named(task.spec)))


def _each(mixture: Mixture, change: Callable[[MixtureTask], MixtureTask]) -> Mixture:
    return replace(mixture, tasks=tuple(change(task) for task in mixture.tasks))


def _number(argument: str | None) -> int | None:
    """The number after the colon; None, all of them, without one."""
    if argument is None:
        return None
    if not (argument.isascii() and argument.isdecimal() and int(argument)):
        raise UserError(f"'{argument}' is no number from 1")
    return int(argument)


def _no_argument(argument: str | None) -> None:
    if argument is not None:
        raise UserError(f"takes nothing after a colon, and there is '{argument}'")


def _cluster(task: MixtureTask) -> str:
    return "conversational_qa" if task.spec.name in CONVERSATIONAL_QA else task.spec.cluster


def _reworded(task: MixtureTask, before: str) -> MixtureTask:
    """The task with one template: its fields, a line each, after a text."""
    spec = task.spec
    shown = set().union(*(spec.templates[i].input_fields for i in spec.forward_templates))
    kept = [name for name in spec.fields if name in shown and name not in spec.optional]
    if not kept:
        raise UserError(f"task '{spec.name}' has no field that it always shows: it can't be plain")
    template = Template(before + "\n".join(f"{{{name}}}" for name in kept))
    return replace(task, spec=replace(spec, templates=(template,)), templates=(0,))


def _named(spec: TaskSpec) -> str:
    return f"[{spec.cluster.replace('_', ' ')}: {spec.name.replace('_', ' ')}]\n"
