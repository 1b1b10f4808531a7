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
`rates` gives it; a task that comes by two ways has the sum of both rates and the union of their
templates. Rates are what `seqio.Mixture` takes; only their ratios matter.

What no key says is a transform, a pure function from the resolved mixture to another one:

    def tasks(mixture: Mixture, argument: str | None) -> Mixture:
        return replace(mixture, tasks=mixture.tasks[: int(argument)])

`pocket_train:5` is the mixture `pocket_train` with "5" as its transform's argument; without a
colon the argument is None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

from flanmix.errors import UserError, nearest
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import load_function

RateKind = Literal["proportional", "equal", "explicit"]
Counts = Callable[[TaskSpec], int | None]

_NO_KEY = {"key": False}  # metadata of a field that is no key of a declaration


@dataclass(frozen=True)
class MixtureSpec:
    """A mixture as declared; see the module docstring for each key.

    Attributes:
        name: the name that it was asked for by, with what follows the colon.
        argument: what follows the colon, or None; for the transform.
        folder: where the transform's file is.

    Raises:
        ValueError: where a key is out of its range.
    """

    name: str = field(metadata=_NO_KEY)
    tasks: tuple[str, ...]
    without: tuple[str, ...] = ()
    rate: RateKind = "proportional"
    cap: int | None = 3000
    temperature: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    templates: tuple[int, ...] | None = None
    few_shot: int = 0
    few_shot_share: float = 0.0
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    transform: str | None = None
    argument: str | None = field(default=None, metadata=_NO_KEY)
    folder: Path | None = field(default=None, metadata=_NO_KEY)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("tasks is empty: name at least one")
        if self.rate not in get_args(RateKind):
            raise ValueError(f"rate is {self.rate!r}: one of {', '.join(get_args(RateKind))}")
        if self.cap is not None and self.cap < 1:
            raise ValueError(f"cap is {self.cap}: at least 1, or null for none")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}: it must be positive")
        if bad := [name for name, rate in self.rates.items() if not rate > 0]:
            raise ValueError(f"rates: {bad[0]} is {self.rates[bad[0]]}: it must be positive")
        if bad := [name for name, weight in self.loss_weights.items() if not weight > 0]:
            raise ValueError(f"loss_weights: {bad[0]} must be positive")
        if self.templates is not None and (not self.templates or min(self.templates) < 0):
            raise ValueError(f"templates is {list(self.templates)}: numbers from 0, at least one")
        if self.few_shot < 0 or not 0 <= self.few_shot_share <= 1:
            raise ValueError("few_shot counts exemplars, few_shot_share lies between 0 and 1")
        if bool(self.few_shot) != bool(self.few_shot_share):
            raise ValueError("few_shot and few_shot_share go together: give both or neither")
        if self.transform is not None and not isinstance(self.transform, str):
            raise ValueError(f"transform is {self.transform!r}: write file.py:function")
        if self.argument is not None and self.transform is None:
            raise ValueError(
                f"':{self.argument}' is for a transform, and the mixture has no key 'transform'"
            )


def mixture_keys() -> list[str]:
    """The keys that a mixture's declaration may have."""
    return [entry.name for entry in fields(MixtureSpec) if entry.metadata.get("key", True)]


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
        return sum(task.rate for task in self.tasks)


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
    return Mixture(mixture.name, tuple(tasks[name] for name in sorted(tasks)))


def _resolve(
    mixture: MixtureSpec, catalogue: TaskCatalogue, counts: Counts, above: tuple[str, ...]
) -> dict[str, MixtureTask]:
    if mixture.name in above:
        raise UserError(f"mixture '{mixture.name}' holds itself: {' > '.join(above)}")
    dropped = {name for pattern in mixture.without for name in catalogue.expand(pattern)}
    tasks: dict[str, MixtureTask] = {}
    used: set[str] = set()
    for member in mixture.tasks:
        if catalogue.is_mixture(member):
            inner = catalogue.mixture(member)
            below = _resolve(inner, catalogue, counts, (*above, mixture.name))
            below = {name: task for name, task in below.items() if name not in dropped}
            if member in mixture.rates:
                used.add(member)
                below = _scaled(below, mixture.rates[member])
            members = list(below.values())
        else:
            names = [name for name in catalogue.expand(member) if name not in dropped]
            members = [_member(mixture, catalogue.task(name), counts) for name in names]
            used |= {name for name in names if name in mixture.rates}
        for task in members:
            _add(tasks, task)
    if not tasks:
        raise UserError(f"mixture '{mixture.name}' is empty")
    for key in mixture.rates:
        if key not in used:
            near = nearest(key, tasks)
            raise UserError(f"mixture '{mixture.name}': rates names '{key}', no member of it{near}")
    tasks = {name: _adjusted(mixture, task) for name, task in tasks.items()}
    return tasks if mixture.transform is None else _transformed(mixture, tasks)


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
        rate = float(capped) ** (1.0 / mixture.temperature)
    return MixtureTask(spec, rate, examples, tuple(range(len(spec.templates))))


def _scaled(tasks: dict[str, MixtureTask], total: float) -> dict[str, MixtureTask]:
    factor = total / sum(task.rate for task in tasks.values())
    return {name: replace(task, rate=task.rate * factor) for name, task in tasks.items()}


def _add(tasks: dict[str, MixtureTask], task: MixtureTask) -> None:
    there = tasks.get(task.spec.name)
    if there is not None:
        union = tuple(sorted(set(there.templates) | set(task.templates)))
        task = replace(task, rate=there.rate + task.rate, templates=union)
    tasks[task.spec.name] = task


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
    for name, task in found.items():
        if not 0 < task.rate < float("inf"):
            raise UserError(f"{owner}: {mixture.transform} gives '{name}' the rate {task.rate}")
        if not task.templates or not set(task.templates) <= set(range(len(task.spec.templates))):
            numbers = list(task.templates)
            raise UserError(f"{owner}: {mixture.transform} gives '{name}' templates {numbers}")
    return found
