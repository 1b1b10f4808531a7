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
      wording: instructions           # or plain, name: see registry/wording.py
      first_members: 3                # only the first three of `tasks`
      first_tasks: 20                 # only twenty tasks, in an order that no mixture changes
      varies: first_tasks             # then `pocket_train:5` is this mixture with `first_tasks: 5`

A task's proportional rate is `min(examples, cap) ** (1 / temperature)` (Raffel et al. 2020, section
3.5.2; Wei et al. 2022, section 2.1). A member mixture keeps its own rates, scaled to sum to what
`rates` gives it; a task that comes by two ways has the sum of both rates and the union of their
templates. Rates are what `seqio.Mixture` takes; only their ratios matter.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol, get_args

from flanmix.errors import UserError, nearest
from flanmix.registry.task import TaskSpec
from flanmix.registry.wording import Wording, reworded

RateKind = Literal["proportional", "equal", "explicit"]
Varied = Literal["templates", "first_members", "first_tasks", "cap"]
Counts = Callable[[TaskSpec], int | None]


@dataclass(frozen=True)
class MixtureSpec:
    """A mixture as declared; see the module docstring for each part.

    Raises:
        ValueError: where a part is out of its range.
    """

    name: str
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
    wording: Wording = "instructions"
    first_members: int | None = None
    first_tasks: int | None = None
    varies: Varied | None = None

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("tasks is empty: name at least one")
        if self.wording not in get_args(Wording):
            raise ValueError(f"wording is {self.wording!r}: one of {', '.join(get_args(Wording))}")
        if self.varies is not None and self.varies not in get_args(Varied):
            raise ValueError(f"varies is {self.varies!r}: one of {', '.join(get_args(Varied))}")
        for name in ("first_members", "first_tasks"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}: at least 1")
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

    @property
    def members(self) -> tuple[str, ...]:
        """The members that count."""
        return self.tasks[: self.first_members]

    def first(self, names: Iterable[str]) -> list[str]:
        """Returns the tasks that count of its members', sorted.

        The order in which tasks are taken is that of their names' hashes: the same in every
        mixture, so that five tasks are among the ten, and no other task's coming changes it.
        """
        drawn = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
        return sorted(drawn[: self.first_tasks])


@dataclass(frozen=True)
class MixtureTask:
    """One task of a resolved mixture.

    Attributes:
        spec: the task.
        rate: its rate; only ratios matter.
        examples: records of its training split, or None where no store has told.
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
    """A resolved mixture: its tasks by name; a task's place here is its id in batches."""

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
    """The three parts of a mixture, each with the rates that it has in the whole.

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
        UserError: for an unknown name, a missing explicit rate, or a task without a template.
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
    for member in mixture.members:
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
    tasks = {name: tasks[name] for name in mixture.first(tasks)}
    for key in mixture.rates:
        if key not in used:
            near = nearest(key, tasks)
            raise UserError(f"mixture '{mixture.name}': rates names '{key}', no member of it{near}")
    return {name: _adjusted(mixture, task) for name, task in tasks.items()}


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
    if mixture.wording != "instructions":
        task = replace(task, spec=reworded(task.spec, mixture.wording), templates=(0,))
    elif mixture.templates is not None:
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
