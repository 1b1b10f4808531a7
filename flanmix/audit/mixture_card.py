"""The mixture card: what a model will really see of a mixture.

    make_card("rainy_days", catalogue, store, "pocket")
    -> MixtureCard("rainy_days", tasks=(MixtureRow("rte", examples=2290, share=0.031, ...), ...))

`share` is of examples; `epochs_per_million` is how often each record is seen in a million
examples: a run of N examples makes N / 1e6 times as many. Tokens are measured on a sample of each
task's prepared records, read as the loader reads them; `share_of_loss` is that of the target
tokens times their loss weights. Without a store nothing is counted, and a proportional rate
is 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import Mixture, MixtureTask, resolve
from flanmix.registry.task import TaskSpec

if TYPE_CHECKING:
    from flanmix.audit.against import Against
    from flanmix.data.store.store import Store
    from flanmix.data.vocabulary import Vocabulary

_SAMPLE = 200


@dataclass(frozen=True)
class MixtureRow:
    """One task's line of the card.

    Attributes:
        name: the task.
        collection: its collection.
        cluster: its cluster.
        examples: records of its training split; None where they are not prepared.
        capped_at: the cap on its rate, where it has more records, or None.
        rate: its rate.
        share: its share of the examples, 0 to 1.
        epochs_per_million: passes over its records in a million examples.
        templates: how many templates are used.
        template_numbers: which ones.
        loss_weight: factor of its loss.
        inputs_tokens: mean tokens of an input, EOS included; None if not measured, as below.
        targets_tokens: mean tokens of a target, EOS included.
        unknown_share: share of its tokens that the vocabulary cannot hold.
        share_of_tokens: its share of all tokens, inputs and targets.
        share_of_loss: its share of the weighted target tokens.
    """

    name: str
    collection: str
    cluster: str
    examples: int | None
    capped_at: int | None
    rate: float
    share: float
    epochs_per_million: float | None
    templates: int
    template_numbers: tuple[int, ...]
    loss_weight: float
    inputs_tokens: float | None = None
    targets_tokens: float | None = None
    unknown_share: float | None = None
    share_of_tokens: float | None = None
    share_of_loss: float | None = None


@dataclass(frozen=True)
class MixtureCard:
    """The card of a mixture.

    Attributes:
        name: the mixture.
        tasks: what a run with this store trains on; all of it where nothing is prepared yet.
        total_rate: the sum of their rates.
        vocabulary: what tokens were measured in; None where none were.
        absent: names of the tasks that are not prepared, where others are.
        for_evaluation: names of the tasks that have no training split.
        against: None where nothing was compared.
    """

    name: str
    tasks: tuple[MixtureRow, ...]
    total_rate: float
    vocabulary: str | None
    absent: tuple[str, ...] = ()
    for_evaluation: tuple[str, ...] = ()
    against: "Against | None" = None

    @property
    def unknown_share(self) -> float | None:
        """Share of all tokens that the vocabulary cannot hold."""
        shares = [
            task.share_of_tokens * task.unknown_share
            for task in self.tasks
            if task.share_of_tokens is not None and task.unknown_share is not None
        ]
        return sum(shares) if shares else None

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        card = {**asdict(replace(self, against=None)), "unknown_share": self.unknown_share}
        del card["against"]
        return card if self.against is None else {**card, "against": self.against.to_json()}


def make_card(
    name: str, catalogue: Catalogue, store: "Store | None", vocabulary: str
) -> MixtureCard:
    """Makes the card of a mixture, a task or whatever else stands for tasks.

    Args:
        name: the mixture.
        catalogue: where it is looked up.
        store: where its records are counted and measured, or None.
        vocabulary: name of the vocabulary that tokens are measured in.

    Raises:
        UserError: an unknown name, or no task with a training split.
    """

    def count(spec: TaskSpec) -> int | None:
        return store.count(spec, "train") if store is not None else None

    declared = resolve(catalogue.mixture(name), catalogue, count)
    prepared, absent, for_evaluation = declared.parts()
    mixture = prepared if prepared.tasks else absent
    if not mixture.tasks:
        raise UserError(f"mixture '{name}' has no task with a training split: nothing to train on")
    card = MixtureCard(
        name=name,
        tasks=_rows(mixture, _caps(name, catalogue)),
        total_rate=mixture.total_rate,
        vocabulary=None,
        absent=absent.names if prepared.tasks else (),
        for_evaluation=for_evaluation.names,
    )
    if store is None or not prepared.tasks:
        return card
    from flanmix.data.vocabulary import load_vocabulary

    loaded = load_vocabulary(vocabulary)
    measured = [
        _measured(line, task, store, loaded)
        for line, task in zip(card.tasks, mixture.tasks, strict=True)
    ]
    return replace(card, tasks=_with_shares(measured), vocabulary=vocabulary)


def _rows(mixture: Mixture, caps: Mapping[str, int]) -> tuple[MixtureRow, ...]:
    return tuple(_row(task, mixture, caps.get(task.spec.name)) for task in mixture.tasks)


def _row(task: MixtureTask, mixture: Mixture, cap: int | None) -> MixtureRow:
    share = task.rate / mixture.total_rate
    return MixtureRow(
        name=task.spec.name,
        collection=task.spec.collection,
        cluster=task.spec.cluster,
        examples=task.examples,
        capped_at=cap if cap is not None and (task.examples or 0) > cap else None,
        rate=task.rate,
        share=share,
        epochs_per_million=1e6 * share / task.examples if task.examples else None,
        templates=len(task.templates),
        template_numbers=task.templates,
        loss_weight=task.loss_weight,
    )


def _caps(name: str, catalogue: Catalogue) -> dict[str, int]:
    """The cap of each task that a proportional mixture, this one or a member, puts on it."""
    mixture = catalogue.mixture(name)
    caps: dict[str, int] = {}
    for member in mixture.tasks:
        if catalogue.is_mixture(member):
            caps |= _caps(member, catalogue)
        elif mixture.rate == "proportional" and mixture.cap is not None:
            free = [task for task in catalogue.expand(member) if task not in mixture.rates]
            caps |= dict.fromkeys(free, mixture.cap)
    return caps


# ---- tokens ------------------------------------------------------------------------------------


def _measured(
    card: MixtureRow, task: MixtureTask, store: "Store", vocabulary: "Vocabulary"
) -> tuple[MixtureRow, float]:
    """The line with its tokens, and the mean sum of its examples' loss weights.

    Measured are the first samples that a loader would take of the task.
    """
    from flanmix.data.examples import ExampleReader
    from flanmix.data.tokens import Lengths

    if not task.examples:
        return card, 0.0
    alone, endless = Mixture(card.name, (task,)), Lengths(2**30, 2**30)
    reader = ExampleReader(alone, store, vocabulary, endless)
    examples = reader.read(range(min(_SAMPLE, task.examples)))
    inputs = sum(len(example.inputs) for example in examples)
    targets = sum(len(example.targets) for example in examples)
    weights = sum(example.weights.sum(dtype=float) for example in examples)
    row = replace(
        card,
        inputs_tokens=inputs / len(examples),
        targets_tokens=targets / len(examples),
        unknown_share=sum(example.unknown for example in examples) / (inputs + targets),
    )
    return row, float(weights) / len(examples)


def _with_shares(measured: Sequence[tuple[MixtureRow, float]]) -> tuple[MixtureRow, ...]:
    """The lines with their shares of tokens and loss, among those that were measured."""
    tasks = [task for task, _ in measured]
    tokens = [
        task.share * ((task.inputs_tokens or 0) + (task.targets_tokens or 0)) for task in tasks
    ]
    losses = [task.share * weights for task, weights in measured]
    total = sum(losses) or 1.0  # all of weight 0: no loss to share
    return tuple(
        replace(task, share_of_tokens=token / sum(tokens), share_of_loss=loss / total)
        if task.targets_tokens is not None
        else task
        for task, token, loss in zip(tasks, tokens, losses, strict=True)
    )
