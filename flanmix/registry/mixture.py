"""What a mixture is, and the exact rate of every task in it.

A mixture is declared in `tasks/<collection>/mixtures.yaml`:

    pocket_train:
      tasks: [pocket]                 # names, collections, collection/cluster, globs, mixtures
      without: [pocket/arithmetic]
      rate: proportional              # or equal, explicit
      cap: 3000                       # examples-proportional mixing with a maximum
      temperature: 1.0
      rates: {pocket_nli: 500}        # these tasks or member mixtures get this rate instead
      templates: [0, 1, 2, 3]         # numbers of the templates used, or 4 for the first four
      few_shot: 3                     # exemplars before the query ...
      few_shot_share: 0.25            # ... in this share of the examples
      loss_weights: {pocket_sum: 0.5}
      transform: ablations.py:tasks   # a function beside this file, applied to all of the above

These keys are the fields of `MixtureSpec`.

A task's proportional rate is `min(examples, cap) ** (1 / temperature)` (Raffel et al. 2020, section
3.5.2; Wei et al. 2022, section 2.1). A member mixture keeps its own rates, scaled to sum to what
`rates` gives it. Rates are what `seqio.Mixture` takes; only their ratios matter.

A task that comes by two members has the sum of both rates and the union of their templates. In all
else (its wordings, few_shot, its loss weight) the members must agree, unless the mixture itself
says it for all of its tasks: so the order of members never matters.

What no key says is a transform, a pure function from the resolved mixture to another one:

    def tasks(mixture: Mixture, argument: str | None) -> Mixture:
        return replace(mixture, tasks=mixture.tasks[: int(argument)])

`pocket_train:5` is the mixture `pocket_train` with "5" as its transform's argument; without a
colon the argument is None.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol

from flanmix.errors import UserError, nearest
from flanmix.registry.mixture_spec import MixtureSpec as MixtureSpec
from flanmix.registry.mixture_spec import is_number, is_whole
from flanmix.registry.mixture_spec import mixture_keys as mixture_keys
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import load_function

Counts = Callable[[TaskSpec], int | None]


@dataclass(frozen=True)
class MixtureTask:
    """One task of a resolved mixture.

    Attributes:
        spec: the task.
        rate: its rate; only ratios matter.
        examples: records of its training split, or None where no store was asked.
        templates: numbers of the templates used.
        loss_weight: factor of its targets' loss.
        few_shot: number of exemplars where it has any.
        few_shot_share: share of its examples that have exemplars.
    """

    spec: TaskSpec
    rate: float
    examples: int | None
    templates: tuple[int, ...]
    loss_weight: float = 1.0
    few_shot: int = 0
    few_shot_share: float = 0.0


@dataclass(frozen=True)
class Mixture:
    """A resolved mixture: its tasks by name; a task's index here is its id in batches."""

    name: str
    tasks: tuple[MixtureTask, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks' names, in order."""
        return tuple(task.spec.name for task in self.tasks)

    def only(self, keep: Callable[[MixtureTask], object]) -> "Mixture":
        """The same with the tasks that `keep` holds true; their rates stay."""
        return Mixture(self.name, tuple(task for task in self.tasks if keep(task)))

    def parts(self) -> "MixtureParts":
        """Returns what can be trained on now, what could if it were prepared, and the rest."""
        trained = self.only(lambda task: task.spec.splits.get("train"))
        return MixtureParts(
            prepared=trained.only(lambda task: task.examples is not None),
            absent=trained.only(lambda task: task.examples is None),
            for_evaluation=self.only(lambda task: not task.spec.splits.get("train")),
        )

    @property
    def total_rate(self) -> float:
        """The sum of the rates."""
        return math.fsum(task.rate for task in self.tasks)


class MixtureParts(NamedTuple):
    """The three parts of a mixture, each with the rates that it has among all.

    Attributes:
        prepared: the tasks whose training records are there.
        absent: those whose training records are not.
        for_evaluation: those that have no training split.
    """

    prepared: Mixture
    absent: Mixture
    for_evaluation: Mixture


class TaskCatalogue(Protocol):
    """What resolving needs of a catalogue."""

    def task(self, name: str) -> TaskSpec: ...  # noqa: D102
    def is_mixture(self, name: str) -> bool: ...  # noqa: D102
    def mixture(self, name: str) -> MixtureSpec: ...  # noqa: D102
    def expand(self, pattern: str) -> list[str]: ...  # noqa: D102


def resolve(mixture: MixtureSpec, catalogue: TaskCatalogue, counts: Counts) -> Mixture:
    """Works out a mixture's tasks and rates.

    Args:
        mixture: the declaration.
        catalogue: where tasks and member mixtures are looked up.
        counts: a task's number of training records, or None where that is unknown; a proportional
            rate is then 1 at most temperatures, which is right only for looking at a mixture.

    Raises:
        UserError: for an unknown name, a missing explicit rate, a task without a template, or a
            transform that fails.
    """
    tasks = _resolve(mixture, catalogue, counts, ())
    resolved = Mixture(mixture.name, tuple(tasks[name] for name in sorted(tasks)))
    for task in resolved.tasks:
        if not 0 < task.rate < math.inf:
            name = task.spec.name
            raise UserError(f"mixture '{mixture.name}': the rate of '{name}' comes to {task.rate}")
    try:
        _ = resolved.total_rate
    except OverflowError:
        raise UserError(
            f"mixture '{mixture.name}': the sum of its rates is more than a number can hold; "
            "only ratios matter, so give smaller ones"
        ) from None
    return resolved


_Ways = dict[str, list[tuple[str, MixtureTask]]]  # task -> the members that it comes by


def _resolve(
    mixture: MixtureSpec, catalogue: TaskCatalogue, counts: Counts, above: tuple[str, ...]
) -> dict[str, MixtureTask]:
    if mixture.name in above:
        raise UserError(f"mixture '{mixture.name}' holds itself: {' > '.join(above)}")
    dropped = {name for pattern in mixture.without for name in catalogue.expand(pattern)}
    ways: _Ways = {}
    used: set[str] = set()
    for member in mixture.tasks:
        if catalogue.is_mixture(member):
            inner = catalogue.mixture(member)
            below = _resolve(inner, catalogue, counts, (*above, mixture.name))
            below = {name: task for name, task in below.items() if name not in dropped}
            if member in mixture.rates and below:
                used.add(member)
                below = _scaled(below, mixture.rates[member])
            members = list(below.values())
        else:
            names = [name for name in catalogue.expand(member) if name not in dropped]
            members = [_member(mixture, catalogue.task(name), counts) for name in names]
            used |= {name for name in names if name in mixture.rates}
        for task in members:
            ways.setdefault(task.spec.name, []).append((member, task))
    if not ways:
        raise UserError(f"mixture '{mixture.name}' is empty")
    for key in mixture.rates:
        if key not in used:
            raise UserError(_not_rated(mixture, key, ways, dropped, catalogue))
    for key in mixture.loss_weights:
        if key not in ways:
            near = nearest(key, ways)
            raise UserError(
                f"mixture '{mixture.name}': loss_weights names '{key}', no task of it{near}"
            )
    tasks = {
        name: _adjusted(mixture, _united(mixture, name, found)) for name, found in ways.items()
    }
    return tasks if mixture.transform is None else _transformed(mixture, tasks)


def _not_rated(
    mixture: MixtureSpec, key: str, ways: _Ways, dropped: set[str], catalogue: TaskCatalogue
) -> str:
    """Why a key of `rates` gives nothing its rate, and the way out."""
    what = f"mixture '{mixture.name}': rates names '{key}', "
    if key in ways:
        member = min(member for member, _ in ways[key])
        return (
            f"{what}which comes by the member mixture '{member}': give the rate in the declaration "
            f"of '{member}', or rate '{member}' as a whole"
        )
    if key in dropped:
        return f"{what}which 'without' takes out"
    if key in mixture.tasks:
        names = () if catalogue.is_mixture(key) else catalogue.expand(key)
        if names and set(names) - dropped:
            return f"{what}which stands for tasks: give each of them its rate, such as '{names[0]}'"
        return f"{what}which 'without' leaves no task of"
    return f"{what}no member of it{nearest(key, [*ways, *mixture.tasks])}"


def _member(mixture: MixtureSpec, spec: TaskSpec, counts: Counts) -> MixtureTask:
    examples = counts(spec) if spec.splits.get("train") else None
    if spec.name in mixture.rates:
        rate = mixture.rates[spec.name]
    elif mixture.rate == "explicit":
        raise UserError(f"mixture '{mixture.name}': rates lacks '{spec.name}'; rate is explicit")
    elif mixture.rate == "equal" or examples is None:
        rate = 1.0
    else:
        capped = examples if mixture.cap is None else min(examples, mixture.cap)
        rate = _tempered(mixture, spec.name, float(capped))
    return MixtureTask(spec, rate, examples, tuple(range(len(spec.templates))))


def _tempered(mixture: MixtureSpec, task: str, examples: float) -> float:
    # The logarithm tells what the power can't: that it is more than a float holds.
    if math.log(examples or 1.0) >= mixture.temperature * math.log(sys.float_info.max):
        raise UserError(
            f"mixture '{mixture.name}': temperature {mixture.temperature} makes the rate of "
            f"'{task}' {examples:.0f} ** {1.0 / mixture.temperature:.4g}, more than a number can "
            "hold: raise it"
        )
    return examples ** (1.0 / mixture.temperature)


def _scaled(tasks: dict[str, MixtureTask], total: float) -> dict[str, MixtureTask]:
    factor = total / _sum(task.rate for task in tasks.values())
    return {name: replace(task, rate=task.rate * factor) for name, task in tasks.items()}


def _united(
    mixture: MixtureSpec, name: str, found: Sequence[tuple[str, MixtureTask]]
) -> MixtureTask:
    """A task that comes by some members: its rates add up, its templates unite."""
    _, task = found[0]
    if len(found) == 1:
        return task
    _check_agreement(mixture, name, found)
    return replace(
        task,
        rate=_sum(task.rate for _, task in found),
        templates=tuple(sorted({number for _, task in found for number in task.templates})),
    )


def _sum(rates: Iterable[float]) -> float:
    try:
        return math.fsum(rates)  # the same in every order
    except OverflowError:
        return math.inf


def _check_agreement(
    mixture: MixtureSpec, name: str, found: Sequence[tuple[str, MixtureTask]]
) -> None:
    """Checks that members say the same of a task, but for what the mixture says of all."""
    said = set()
    if mixture.few_shot:
        said |= {"few_shot", "few_shot_share"}
    if name in mixture.loss_weights:
        said.add("loss_weight")
    found = sorted(found, key=lambda way: (way[0], repr(way[1])))
    (first, task), *others = found
    for other, theirs in others:
        where = f"mixture '{mixture.name}': task '{name}' comes by '{first}' and by '{other}'"
        if theirs.spec != task.spec:
            parts = [f.name for f in fields(task.spec)]
            changed = [p for p in parts if getattr(task.spec, p) != getattr(theirs.spec, p)]
            raise UserError(
                f"{where}, and a transform gives it other {', '.join(changed)} in one of them: "
                "take it out of the other with a mixture that has it under 'without'"
            )
        for key in ("few_shot", "few_shot_share", "loss_weight"):
            one, two = getattr(task, key), getattr(theirs, key)
            if one != two and key not in said:
                own = "loss_weights" if key == "loss_weight" else key
                raise UserError(
                    f"{where}, where its {key} is {one} and {two}: say {own} in "
                    f"'{mixture.name}' itself, or take the task out of one of them"
                )


def _adjusted(mixture: MixtureSpec, task: MixtureTask) -> MixtureTask:
    """Applies what the mixture says of every task in it: templates, exemplars, loss weights."""
    name = task.spec.name
    if mixture.templates is not None:
        templates = tuple(number for number in task.templates if number in mixture.templates)
        if not templates:
            wanted = list(mixture.templates)
            raise UserError(
                f"mixture '{mixture.name}': task '{name}' has none of templates {wanted}"
            )
        task = replace(task, templates=templates)
    if mixture.few_shot:
        task = replace(task, few_shot=mixture.few_shot, few_shot_share=mixture.few_shot_share)
    if name in mixture.loss_weights:
        task = replace(task, loss_weight=mixture.loss_weights[name])
    return task


def _transformed(mixture: MixtureSpec, tasks: Mapping[str, MixtureTask]) -> dict[str, MixtureTask]:
    """Applies the mixture's transform to all of its tasks."""
    assert mixture.transform is not None
    owner = f"mixture '{mixture.name}'"
    function = load_function(mixture.folder, mixture.transform, owner)
    before = Mixture(mixture.name, tuple(tasks[name] for name in sorted(tasks)))
    try:
        after: Any = function(before, mixture.argument)
    except UserError as error:
        raise UserError(f"{owner}: {error}") from error
    except Exception as error:  # whatever a user's function does
        raise UserError(f"{owner}: {mixture.transform} fails: {error!r}") from error
    if not isinstance(after, Mixture):
        kind = type(after).__name__
        raise UserError(f"{owner}: {mixture.transform} returns a {kind}, not a Mixture")
    if not after.tasks:
        raise UserError(f"{owner} is empty: {mixture.transform} leaves no task of it")
    found = {task.spec.name: task for task in after.tasks}
    if len(found) < len(after.tasks):
        raise UserError(f"{owner}: {mixture.transform} returns a task twice")
    for task in after.tasks:
        if wrong := _fault(task):
            raise UserError(f"{owner}: {mixture.transform} gives '{task.spec.name}' {wrong}")
    return found


def _fault(task: MixtureTask) -> str:
    """What a task can't have, however it was made; nothing if all is well."""
    if not is_number(task.rate) or not task.rate > 0:
        return f"the rate {task.rate}"
    if not task.templates or not set(task.templates) <= set(range(len(task.spec.templates))):
        return f"templates {list(task.templates)}"
    if not is_number(task.loss_weight) or not task.loss_weight > 0:
        return f"the loss weight {task.loss_weight}"
    few_shot, share = task.few_shot, task.few_shot_share
    if not is_whole(few_shot) or few_shot < 0 or not 0 <= share <= 1:
        return f"few_shot {few_shot} in a share of {share}"
    if bool(few_shot) != bool(share):
        return f"few_shot {few_shot} in a share of {share}: both or neither"
    return ""
