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

A conversation in a chat template (`TextExample.chat`) brings what stands between the sides, and the
control token that ends its last turn stands for EOS. Of inputs that are too long, what the messages
say is truncated, the longest first, and never what the template writes:

    inputs_length 6     <user> 5 6 7 8 9 <end> <assistant>  ->  <user> 5 6 7 <end> <assistant>

Targets are never truncated to nothing: at least one token and EOS stay (lengths are at least 2).
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from flanmix.data.render import TextExample
from flanmix.data.separator import separator_ids, separator_of
from flanmix.data.sides import Inputs, Targets, two_sides
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
    separator = separator_ids(vocabulary, lengths.separator)
    sides = two_sides(examples, vocabulary, lengths.two_sided, separator)
    return [
        build_example(
            inputs, targets, vocabulary, lengths, task=task, weight=weight * example.weight
        )
        for example, (inputs, targets), task, weight in zip(
            examples, sides, tasks, weights, strict=True
        )
    ]


def build_example(
    inputs: Inputs,
    targets: Targets,
    vocabulary: Vocabulary,
    lengths: Lengths,
    *,
    task: int = 0,
    weight: float = 1.0,
) -> Example:
    """Adds EOS and the separator, and truncates.

    Args:
        inputs: what is read.
        targets: what is written; what ends it has the loss of what is before it.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
        task: the task's number in the mixture.
        weight: loss weight of the tokens that have loss.
    """
    unknown = 0
    if (unk := vocabulary.unk_id) is not None:
        unknown = np.count_nonzero(inputs.ids == unk) + np.count_nonzero(targets.ids == unk)
    tail = np.array([vocabulary.eos_id], np.int32) if lengths.two_sided else _NOTHING
    if len(inputs.ids):
        tail = np.concatenate([tail, inputs.separator])
    num_inputs, num_targets = len(inputs.ids), len(targets.ids)
    budget = token_budget(
        num_inputs + (0 if lengths.two_sided else len(tail)), num_targets, lengths
    )
    end = vocabulary.eos_id if targets.end is None else targets.end
    kept = _truncated(targets.ids, budget[1], np.array([end], np.int32))
    weights = np.full(len(kept), weight, np.float32)
    if targets.has_loss is not None:
        weights[:-1] *= targets.has_loss[: len(kept) - 1]
        whole = len(kept) > num_targets  # so it ends as it was meant to
        if len(kept) > 1 and not (whole and targets.end is not None):
            weights[-1] = weights[-2]
    return Example(
        _truncated(shortened(inputs, budget[0] - len(tail)), budget[0], tail),
        kept,
        weights,
        task,
        num_inputs + len(tail) > budget[0],
        num_targets + 1 > budget[1],
        int(unknown),
    )


def shortened(inputs: Inputs, budget: int) -> np.ndarray:
    """Leaves out the ends of what messages say, the longest first, until the rest fits.

    What a template has written stays, so that the form of a conversation survives. Where that
    alone does not fit, or there is no template, nothing is left out here: the tail goes.

    Args:
        inputs: what is read.
        budget: tokens that it may have.
    """
    ids, content = inputs.ids, inputs.content
    if content is None or len(ids) <= budget or np.count_nonzero(~content) >= budget:
        return ids
    edges = np.flatnonzero(np.diff(content, prepend=False, append=False))
    starts, sizes = edges[::2], edges[1::2] - edges[::2]
    room = budget - np.count_nonzero(~content)
    most = bisect.bisect_right(range(room + 1), room, key=lambda n: np.minimum(sizes, n).sum()) - 1
    kept = np.ones(len(ids), bool)
    left = room - np.minimum(sizes, most).sum()
    for start, size in zip(starts, sizes, strict=True):
        more = 1 if size > most and left else 0  # what is over goes to the first ones
        left -= more
        kept[start + most + more : start + size] = False
    return ids[kept]


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
    inputs: Inputs, answers: Sequence[Targets], vocabulary: Vocabulary, lengths: Lengths
) -> tuple[Example, ...]:
    """Builds the examples of one question, one for each answer that it may have.

    All have the same inputs: what training keeps of them beside the longest of the answers. So
    options are compared after one and the same context, and a model that writes is asked as it was
    trained. Where no answer is known, one empty answer stands for it.

    Args:
        inputs: what is read.
        answers: each answer; at least one.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
    """
    longest = max(answers, key=lambda answer: len(answer.ids))
    asked = build_example(inputs, longest, vocabulary, lengths)
    return tuple(
        build_example(inputs, answer, vocabulary, lengths)._replace(
            inputs=asked.inputs, inputs_truncated=asked.inputs_truncated
        )
        for answer in answers
    )


def _truncated(ids: np.ndarray, budget: int, tail: np.ndarray) -> np.ndarray:
    """As many of the ids as the budget has room for before the tail, and the tail."""
    kept = ids[: max(0, budget - len(tail))]
    return np.concatenate([kept, tail]).astype(np.int32, copy=False)
