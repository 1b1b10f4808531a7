"""From spans of text to token ids: EOS at the end, truncated to the lengths, and counted.

Encoder-decoder (EOS ends both sides; the tail of a long text goes, EOS stays, as in T5):

    inputs_length 4, ids 5 6 7 8 9  ->  5 6 7 EOS, inputs_truncated

Decoder-only (one sequence `inputs targets EOS`, of inputs_length + targets_length tokens): each
side may use what the other leaves, and has its own length for certain. So a long input gives way to
the targets, from its tail; targets are truncated only where they are longer than targets_length
*and* the rest of the row is taken. The tail goes on both sides in every architecture, so that the
same text survives whichever model reads it. The separator (`flanmix/data/separator.py`) ends the
inputs, as EOS ends an encoder's; where there are no inputs there is none.

An example of several turns becomes two sides too. Each target token has its own weight:

    spans           ask - answer + more - again +          (+ has loss)
    decoder-only    inputs  ask                            targets  answer more again EOS
                                                           weights  1      0    1     1
    encoder-decoder inputs  ask answer more EOS            targets  again EOS,  all of weight 1

Of a decoder-only row, a separator stands before every turn with loss that follows one without.

What follows the last span with loss is left out: nothing would be learnt from it.

Targets are never truncated to nothing: at least one token and EOS stay (lengths are at least 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from flanmix.data.render import TextExample
from flanmix.data.separator import separator_ids, separator_of
from flanmix.data.vocabulary import Vocabulary

_NOTHING = np.empty(0, np.int32)

Architecture = Literal["encoder_decoder", "causal", "prefix"]


@dataclass(frozen=True)
class Lengths:
    """The lengths of a row, and what reads it.

    Attributes:
        inputs: INPUTS_LENGTH, tokens.
        targets: TARGETS_LENGTH, tokens; a decoder-only row has the sum of both.
        architecture: `encoder_decoder`, `causal` or `prefix` (decoder-only, inputs bidirectional).
        separator: text between inputs and targets of a decoder-only row; empty for none.

    Raises:
        ValueError: for an unknown architecture, a length below 2, or a separator for two rows.
    """

    inputs: int
    targets: int
    architecture: Architecture = "encoder_decoder"
    separator: str = ""

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            known = ", ".join(get_args(Architecture))
            raise ValueError(f"architecture is {self.architecture!r}: one of {known}")
        for name in ("inputs", "targets"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}_length is {getattr(self, name)}: it must be at least 2")
        separator_of(self.architecture, self.separator)

    @property
    def two_sided(self) -> bool:
        """Whether inputs and targets have rows of their own."""
        return self.architecture == "encoder_decoder"

    @property
    def row_capacity(self) -> tuple[int, int]:
        """Tokens of an empty row: (inputs, targets), or (both together, 0) for decoder-only."""
        return (self.inputs, self.targets) if self.two_sided else (self.inputs + self.targets, 0)

    @property
    def longest_inputs(self) -> int:
        """Most tokens that the inputs may take: those of a row, with room for the targets' EOS."""
        return self.inputs if self.two_sided else self.inputs + self.targets - 1


class Example(NamedTuple):
    """A tokenized example.

    Attributes:
        inputs: i32 ids; with EOS for encoder-decoder, with the separator for decoder-only.
        targets: i32 ids with EOS.
        weights: f32, the loss weight of each target token; 0 where it has no loss.
        task: the task's number in the mixture.
        inputs_truncated: whether the inputs were too long.
        targets_truncated: whether the targets were too long.
        unknown: how many ids, before truncation, are unknown pieces.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    task: int = 0
    inputs_truncated: bool = False
    targets_truncated: bool = False
    unknown: int = 0

    def size(self, two_sided: bool, has_start: bool = True) -> tuple[int, int]:
        """Tokens that it takes of a row's capacity.

        Args:
            two_sided: whether inputs and targets have rows of their own.
            has_start: whether a start token stands before a decoder-only segment.
        """
        inputs, targets = len(self.inputs), len(self.targets)
        return (inputs, targets) if two_sided else (inputs + targets - (not has_start), 0)


def tokenize(
    examples: Sequence[TextExample],
    tasks: Sequence[int],
    weights: Sequence[float],
    vocabulary: Vocabulary,
    lengths: Lengths,
) -> list[Example]:
    """Tokenizes and truncates a batch of rendered examples.

    Args:
        examples: rendered examples.
        tasks: each one's task number.
        weights: each one's loss weight in the mixture; its own is multiplied in.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
    """
    ids = iter(vocabulary.encode_batch([text for e in examples for text, _ in e.spans]))
    separator = separator_ids(vocabulary, lengths.separator)
    tokenized = []
    for example, task, weight in zip(examples, tasks, weights, strict=True):
        spans = [(next(ids), has_loss) for _, has_loss in example.spans]
        inputs, targets, has_loss = _two_sides(spans, lengths.two_sided, separator)
        tokenized.append(
            build_example(
                inputs,
                targets,
                vocabulary,
                lengths,
                task=task,
                weight=weight * example.weight,
                has_loss=has_loss,
                separator=separator,
            )
        )
    return tokenized


def _two_sides(
    spans: Sequence[tuple[np.ndarray, bool]], two_sided: bool, separator: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Divides spans of ids into inputs and targets; (inputs, targets, which targets have loss).

    None stands for all of the targets. A separator is put before later turns with loss, not between
    inputs and targets: what is truncated there stands before it.
    """
    if not any(has_loss and len(ids) for ids, has_loss in spans):  # to be written is EOS alone
        first = next(number for number, (_, has_loss) in enumerate(spans) if has_loss)
        return _joined([ids for ids, _ in spans[:first]]), _joined([]), None
    spans = [span for span in spans if len(span[0])]
    losses = [has_loss for _, has_loss in spans]
    last = len(losses) - 1 - losses[::-1].index(True)
    first = losses.index(True)
    if two_sided:
        first = last
        while first and losses[first - 1]:
            first -= 1
    inputs = _joined([ids for ids, _ in spans[:first]])
    if all(losses[first : last + 1]):
        return inputs, _joined([ids for ids, _ in spans[first : last + 1]]), None
    written: list[tuple[np.ndarray, bool]] = []
    for number in range(first, last + 1):
        if number > first and losses[number] and not losses[number - 1]:
            written.append((separator, False))
        written.append(spans[number])
    has_loss = np.concatenate([np.full(len(ids), loss) for ids, loss in written])
    return inputs, _joined([ids for ids, _ in written]), has_loss


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])


def build_example(
    inputs: np.ndarray,
    targets: np.ndarray,
    vocabulary: Vocabulary,
    lengths: Lengths,
    *,
    task: int = 0,
    weight: float = 1.0,
    has_loss: np.ndarray | None = None,
    separator: np.ndarray | None = None,
) -> Example:
    """Adds EOS and the separator, and truncates.

    Args:
        inputs: ids, without EOS.
        targets: ids, without EOS.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
        task: the task's number in the mixture.
        weight: loss weight of the tokens that have loss.
        has_loss: which of the targets have loss; None for all. EOS has what is before it has.
        separator: ids that end the inputs, where there are any; None for none.
    """
    unknown = 0
    if (unk := vocabulary.unk_id) is not None:
        unknown = np.count_nonzero(inputs == unk) + np.count_nonzero(targets == unk)
    tail = np.array([vocabulary.eos_id], np.int32) if lengths.two_sided else _NOTHING
    if separator is not None and len(inputs):
        tail = np.concatenate([tail, separator])
    num_inputs = len(inputs) + (0 if lengths.two_sided else len(tail))
    inputs_budget, targets_budget = token_budget(num_inputs, len(targets), lengths)
    kept = _truncated(targets, targets_budget, np.array([vocabulary.eos_id], np.int32))
    weights = np.full(len(kept), weight, np.float32)
    if has_loss is not None:
        weights[:-1] *= has_loss[: len(kept) - 1]
        weights[-1] = weights[-2] if len(kept) > 1 else weight
    return Example(
        _truncated(inputs, inputs_budget, tail),
        kept,
        weights,
        task,
        len(inputs) + len(tail) > inputs_budget,
        len(targets) + 1 > targets_budget,
        int(unknown),
    )


def token_budget(num_inputs: int, num_targets: int, lengths: Lengths) -> tuple[int, int]:
    """Tokens that the inputs and the targets may take, EOS included, before they are truncated.

    Args:
        num_inputs: ids of the inputs, without EOS, with the separator.
        num_targets: ids of the targets, without EOS.
        lengths: the row's lengths.
    """
    if lengths.two_sided:
        return lengths.inputs, lengths.targets
    both = lengths.inputs + lengths.targets
    inputs = max(lengths.inputs, both - (num_targets + 1))
    targets = max(lengths.targets, both - num_inputs)
    return inputs, targets


def build_question(
    inputs: np.ndarray,
    answers: Sequence[np.ndarray],
    vocabulary: Vocabulary,
    lengths: Lengths,
    *,
    separator: np.ndarray | None = None,
) -> tuple[Example, ...]:
    """Builds the examples of one question, one for each answer that it may have.

    All have the same inputs: what training keeps of them beside the longest of the answers. So
    options are compared after one and the same context, and a model that writes is asked as it was
    trained. Where no answer is known, one empty answer stands for it.

    Args:
        inputs: ids, without EOS.
        answers: ids of each answer, without EOS; at least one.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
        separator: ids that end the inputs, where there are any; None for none.
    """
    longest = max(answers, key=len)
    asked = build_example(inputs, longest, vocabulary, lengths, separator=separator)
    return tuple(
        build_example(inputs, answer, vocabulary, lengths, separator=separator)._replace(
            inputs=asked.inputs, inputs_truncated=asked.inputs_truncated
        )
        for answer in answers
    )


def _truncated(ids: np.ndarray, budget: int, tail: np.ndarray) -> np.ndarray:
    """As many of the ids as the budget has room for before the tail, and the tail."""
    kept = ids[: max(0, budget - len(tail))]
    return np.concatenate([kept, tail]).astype(np.int32, copy=False)
