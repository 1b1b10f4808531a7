"""What a run's lengths leave of each task, measured on a sample of its training records.

    measured = measure(mixture, store, vocabulary, Lengths(128, 64))
    measured[0]  -> Measured(examples=64, inputs=128.0, targets=2.0, inputs_truncated=1.0, ...)
    truncation_line({"passage": measured[0], "rte": measured[1]}, [0.5, 0.5], Lengths(128, 64))
    -> "truncated at INPUTS_LENGTH=128, TARGETS_LENGTH=64: 50.0% of the inputs and 0.0% of the
        targets, most of all passage (100% of its inputs)"

The sample is what a loader with this seed takes of the task first, exemplars and all, so figures
are those of the examples that a run trains on: the same on every machine and after a restart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flanmix.data.chat.format import ChatFormat
from flanmix.data.examples import ExampleReader
from flanmix.data.store.store import Store
from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import Vocabulary
from flanmix.registry.mixture import Mixture, MixtureTask

WHOLE = Lengths(2**30, 2**30)  # that truncate nothing

_SAMPLE = 64  # records of a task ...
_ALL = 8192  # ... and of all tasks together, but for the least
_LEAST = 4
_NAMED = 3  # tasks that a line names


@dataclass(frozen=True)
class Measured:
    """A sample of one task's examples; lengths are means of tokens, EOS included.

    Attributes:
        examples: how many were measured.
        inputs: tokens of an input that are left.
        targets: tokens of a target that are left.
        inputs_truncated: share of the examples whose inputs are truncated.
        targets_truncated: share of the examples whose targets are truncated.
        unknown: tokens that the vocabulary cannot hold, before truncation.
        loss: sum of an example's loss weights that are left.
        fewer_exemplars: share of the queries with exemplars that have fewer than the mixture asks
            for; None where the sample has no such query.
    """

    examples: int
    inputs: float
    targets: float
    inputs_truncated: float
    targets_truncated: float
    unknown: float
    loss: float
    fewer_exemplars: float | None


def sample_size(tasks: int) -> int:
    """How many records of each of so many tasks are measured when a run starts."""
    return max(_LEAST, min(_SAMPLE, _ALL // max(1, tasks)))


def measure(
    mixture: Mixture,
    store: Store,
    vocabulary: Vocabulary,
    lengths: Lengths,
    *,
    seed: int = 0,
    sample: int | None = None,
    chat: ChatFormat | None = None,
) -> list[Measured]:
    """Measures each task of a mixture.

    Args:
        mixture: the resolved mixture; its tasks are prepared.
        store: where they are.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
        seed: the run's seed.
        sample: records of each task, at most; None for `sample_size`.
        chat: the chat format that records are put in; None for plain text.

    Raises:
        UserError: for a corrupt file, or a record that none of its task's templates fits.
    """
    count = sample_size(len(mixture.tasks)) if sample is None else sample
    return [
        _measure(
            ExampleReader(
                Mixture("sample", (task,)), store, vocabulary, lengths, seed=seed, chat=chat
            ),
            task,
            count,
        )
        for task in mixture.tasks
    ]


def _measure(reader: ExampleReader, task: MixtureTask, sample: int) -> Measured:
    shown = reader.read_with_exemplars(range(min(sample, reader.order.sizes[0])))
    examples = [example for example, _ in shown]
    exemplars = [count for _, count in shown if count is not None]
    fewer = sum(count < task.few_shot for count in exemplars)
    number = len(examples)
    return Measured(
        examples=number,
        inputs=sum(len(example.inputs) for example in examples) / number,
        targets=sum(len(example.targets) for example in examples) / number,
        inputs_truncated=sum(example.inputs_truncated for example in examples) / number,
        targets_truncated=sum(example.targets_truncated for example in examples) / number,
        unknown=sum(example.unknown for example in examples) / number,
        loss=float(sum(example.weights.sum(dtype=float) for example in examples)) / number,
        fewer_exemplars=fewer / len(exemplars) if exemplars else None,
    )


def overall(measured: Sequence[Measured], shares: Sequence[float]) -> tuple[float, float]:
    """Shares of all inputs and of all targets that are truncated, by the tasks' shares."""
    pairs = list(zip(measured, shares, strict=True))
    inputs = sum(share * task.inputs_truncated for task, share in pairs)
    return inputs, sum(share * task.targets_truncated for task, share in pairs)


def truncation_line(
    measured: Mapping[str, Measured], shares: Sequence[float], lengths: Lengths
) -> str | None:
    """One line that says how much is truncated, and of which tasks most; None if nothing is.

    Args:
        measured: by the tasks' names.
        shares: of the examples that are each task's, in the same order.
        lengths: the row's lengths.
    """
    cut = {name: task for name, task in measured.items() if max(_truncated(task)) > 0}
    if not cut:
        return None
    inputs, targets = overall(list(measured.values()), shares)
    worst = sorted(cut, key=lambda name: (-max(_truncated(cut[name])), name))[:_NAMED]
    named = ", ".join(f"{name} ({_parts(cut[name])})" for name in worst)
    rest = f" and {len(cut) - len(worst)} more tasks" if len(cut) > len(worst) else ""
    return (
        f"truncated at INPUTS_LENGTH={lengths.inputs}, TARGETS_LENGTH={lengths.targets}: "
        f"{100 * inputs:.1f}% of the inputs and {100 * targets:.1f}% of the targets, "
        f"most of all {named}{rest}"
    )


def _truncated(task: Measured) -> tuple[float, float]:
    return task.inputs_truncated, task.targets_truncated


def _parts(task: Measured) -> str:
    """What of a task is truncated: `100% of its inputs and 3% of its targets`."""
    sides = zip(("inputs", "targets"), _truncated(task), strict=True)
    return " and ".join(f"{100 * share:.3g}% of its {side}" for side, share in sides if share)
