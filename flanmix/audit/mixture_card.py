"""The mixture card: what a model will really see of a mixture.

    make_card("rainy_days", catalogue, store, "pocket")
    -> MixtureCard("rainy_days", tasks=(MixtureRow("rte", examples=2290, share=0.031, ...), ...))

`share` is of examples; `epochs_per_million` is how often each record is seen in a million
examples: a run of N examples makes N / 1e6 times as many. Tokens are measured on a sample of each
task's prepared records, read as the loader reads them; `share_of_loss` is that of the target
tokens times their loss weights. Without a store nothing is counted, and a proportional rate
is 1.

What a run really learns from is what its lengths leave. With a run's `Reading` the shares of tokens
and loss are of that, and each row says how much of the task is truncated, and how many of its
records one epoch may leave unseen while they wait to be packed:

    make_card("rainy_days", catalogue, store, "pocket", Reading(128, 64)).tasks[0]
    -> MixtureRow("rte", inputs_tokens=131.0, inputs_kept=92.5, inputs_truncated=0.4, ...)
"""

import math
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
    from flanmix.data.truncation import Measured
    from flanmix.data.vocabulary import Vocabulary

_SAMPLE = 200


@dataclass(frozen=True)
class Reading:
    """How a run reads a mixture.

    Attributes:
        inputs_length: tokens of a row's inputs.
        targets_length: tokens of a row's targets.
        architecture: `encoder_decoder`, `causal` or `prefix`.
        seed: the run's seed.
        streams: logical streams of the data.
        packed: whether a row may hold several examples.
        separator: text between inputs and targets of a decoder-only row.
        format: `plain` or `chat`.
        system: the system message of a chat.
        chat_template: the file of its template, where that is not the vocabulary's.
    """

    inputs_length: int
    targets_length: int
    architecture: str = "encoder_decoder"
    seed: int = 0
    streams: int = 16
    packed: bool = True
    separator: str = ""
    format: str = "plain"
    system: str | None = None
    chat_template: str | None = None


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
        few_shot: exemplars before a query that has some.
        few_shot_share: share of the examples that have some.
        inputs_tokens: mean tokens of an input, EOS included; None if not measured, as below.
        targets_tokens: mean tokens of a target, EOS included.
        unknown_share: share of its tokens that the vocabulary cannot hold.
        share_of_tokens: its share of all tokens, inputs and targets.
        share_of_loss: its share of the weighted target tokens.
        fewer_exemplars: share of its queries with exemplars that have fewer than `few_shot`; None
            where no such query was measured.
        inputs_kept: mean tokens of an input that a run's lengths leave; None without a run's
            lengths, as below.
        targets_kept: mean tokens of a target that they leave.
        inputs_truncated: share of its examples whose inputs are truncated.
        targets_truncated: share of its examples whose targets are truncated.
        unseen_share: after as many of its examples as it has records, at most about so many of them
            have not been seen once, since they wait to be packed.
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
    few_shot: int = 0
    few_shot_share: float = 0.0
    inputs_tokens: float | None = None
    targets_tokens: float | None = None
    unknown_share: float | None = None
    share_of_tokens: float | None = None
    share_of_loss: float | None = None
    fewer_exemplars: float | None = None
    inputs_kept: float | None = None
    targets_kept: float | None = None
    inputs_truncated: float | None = None
    targets_truncated: float | None = None
    unseen_share: float | None = None


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
        reading: the run that tokens and loss are counted for; None for texts as they are.
        inputs_truncated: share of all examples whose inputs are truncated; None without a run.
        targets_truncated: share of all examples whose targets are truncated.
        waiting: examples that wait to be packed at most; None without a run.
    """

    name: str
    tasks: tuple[MixtureRow, ...]
    total_rate: float
    vocabulary: str | None
    absent: tuple[str, ...] = ()
    for_evaluation: tuple[str, ...] = ()
    against: "Against | None" = None
    reading: Reading | None = None
    inputs_truncated: float | None = None
    targets_truncated: float | None = None
    waiting: int | None = None

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
    name: str,
    catalogue: Catalogue,
    store: "Store | None",
    vocabulary: str,
    reading: Reading | None = None,
) -> MixtureCard:
    """Makes the card of a mixture, a task or whatever else stands for tasks.

    Args:
        name: the mixture.
        catalogue: where it is looked up.
        store: where its records are counted and measured, or None.
        vocabulary: name of the vocabulary that tokens are measured in.
        reading: how a run reads it; None to measure texts as they are.

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

    return _measured(card, mixture, store, load_vocabulary(vocabulary), vocabulary, reading)


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
        few_shot=task.few_shot,
        few_shot_share=task.few_shot_share,
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
    card: MixtureCard,
    mixture: Mixture,
    store: "Store",
    vocabulary: "Vocabulary",
    name: str,
    reading: Reading | None,
) -> MixtureCard:
    """The card with the tokens of each row: of whole texts, and of what a run's lengths leave."""
    from flanmix.data.chat.format import CHAT, open_chat
    from flanmix.data.tokens import Lengths
    from flanmix.data.truncation import WHOLE, measure, overall

    seed = reading.seed if reading is not None else 0
    mixture = mixture.only(lambda task: task.examples)  # a split may have no record
    chat = None
    if reading is not None and reading.format == CHAT:
        chat = open_chat(
            name,
            vocabulary,
            reading.architecture,
            system=reading.system,
            template=reading.chat_template,
        )
    sampled = dict(seed=seed, sample=_SAMPLE, chat=chat)
    whole = measure(mixture, store, vocabulary, WHOLE, **sampled)
    left = whole
    if reading is not None:
        try:
            lengths = Lengths(
                reading.inputs_length,
                reading.targets_length,
                reading.architecture,  # pyrefly: ignore[bad-argument-type]  # checked there
                reading.separator,
            )
        except ValueError as error:
            raise UserError(str(error)) from None
        left = measure(mixture, store, vocabulary, lengths, **sampled)
    found = dict(zip(mixture.names, zip(whole, left, strict=True), strict=True))
    rows = _with_tokens(card.tasks, found)
    if reading is None:
        return replace(card, tasks=rows, vocabulary=name)
    shares = [row.share for row in rows if row.name in found]
    inputs, targets = overall(left, shares)
    return replace(
        card,
        tasks=tuple(_with_reading(row, found.get(row.name), reading) for row in rows),
        vocabulary=name,
        reading=reading,
        inputs_truncated=inputs,
        targets_truncated=targets,
        waiting=_waiting(reading),
    )


_Found = Mapping[str, "tuple[Measured, Measured]"]


def _with_tokens(rows: Sequence[MixtureRow], found: _Found) -> tuple[MixtureRow, ...]:
    """The rows with their tokens, and their shares among those that were measured."""
    measured = [(row, *found[row.name]) for row in rows if row.name in found]
    tokens = sum(row.share * (left.inputs + left.targets) for row, _, left in measured)
    loss = sum(row.share * left.loss for row, _, left in measured) or 1.0  # all of weight 0
    made = {
        row.name: replace(
            row,
            inputs_tokens=whole.inputs,
            targets_tokens=whole.targets,
            unknown_share=whole.unknown / (whole.inputs + whole.targets),
            share_of_tokens=row.share * (left.inputs + left.targets) / tokens,
            share_of_loss=row.share * left.loss / loss,
            fewer_exemplars=left.fewer_exemplars,
        )
        for row, whole, left in measured
    }
    return tuple(made.get(row.name, row) for row in rows)


def _with_reading(
    row: MixtureRow, found: "tuple[Measured, Measured] | None", reading: Reading
) -> MixtureRow:
    """A row with what a run's lengths leave of it, and what its packing holds back."""
    if found is None or not row.examples:
        return row
    _, left = found
    # A record that was not seen waits in each epoch that is drawn to its end.
    epochs = _waiting(reading) * row.share / row.examples
    return replace(
        row,
        inputs_kept=left.inputs,
        targets_kept=left.targets,
        inputs_truncated=left.inputs_truncated,
        targets_truncated=left.targets_truncated,
        unseen_share=epochs / math.floor(1 + epochs),
    )


def _waiting(reading: Reading) -> int:
    from flanmix.data.packing import most_pending

    return most_pending(reading.streams) if reading.packed else 0
