"""From text pairs to token ids: EOS at the end, trimmed to the lengths, every cut counted.

Encoder-decoder (EOS ends both sides; the tail of a long text is cut, EOS stays, as in T5):

    inputs_length 4, ids 5 6 7 8 9  ->  5 6 7 EOS, inputs_trimmed 1

Decoder-only (one sequence `inputs targets EOS`, of inputs_length + targets_length tokens): each
side may use what the other leaves, and has its own length for certain. So a long input gives way to
the targets, from its tail; targets are cut only where they are longer than targets_length *and* the
rest of the row is taken. The tail is cut on both sides in every architecture, so that the same text
survives whichever model reads it.

Targets are never cut to nothing: at least one token and EOS stay (lengths are at least 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from flanmix.data.render import TextPair
from flanmix.data.vocabulary import Vocabulary

Architecture = Literal["encoder_decoder", "causal", "prefix"]


@dataclass(frozen=True)
class Lengths:
    """The lengths of a row, and what reads it.

    Attributes:
        inputs: INPUTS_LENGTH, tokens.
        targets: TARGETS_LENGTH, tokens; a decoder-only row has the sum of both.
        architecture: `encoder_decoder`, `causal` or `prefix` (decoder-only, inputs bidirectional).

    Raises:
        ValueError: for an unknown architecture or a length below 2.
    """

    inputs: int
    targets: int
    architecture: Architecture = "encoder_decoder"

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            known = ", ".join(get_args(Architecture))
            raise ValueError(f"architecture is {self.architecture!r}: one of {known}")
        for name in ("inputs", "targets"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}_length is {getattr(self, name)}: it must be at least 2")

    @property
    def two_sided(self) -> bool:
        """Whether inputs and targets have rows of their own."""
        return self.architecture == "encoder_decoder"

    @property
    def room(self) -> tuple[int, int]:
        """Tokens of an empty row: (inputs, targets), or (both together, 0) for decoder-only."""
        return (self.inputs, self.targets) if self.two_sided else (self.inputs + self.targets, 0)


class Example(NamedTuple):
    """A tokenized example.

    Attributes:
        inputs: i32 ids; with EOS for encoder-decoder.
        targets: i32 ids with EOS.
        task: the task's number in the mixture.
        weight: loss weight of each target token.
        inputs_trimmed: whether the inputs were cut.
        targets_trimmed: whether the targets were cut.
        unknown: how many ids, before cutting, are unknown pieces.
    """

    inputs: np.ndarray
    targets: np.ndarray
    task: int = 0
    weight: float = 1.0
    inputs_trimmed: bool = False
    targets_trimmed: bool = False
    unknown: int = 0

    def size(self, two_sided: bool) -> tuple[int, int]:
        """What it takes of a row's room."""
        inputs, targets = len(self.inputs), len(self.targets)
        return (inputs, targets) if two_sided else (inputs + targets, 0)


def tokenize(
    pairs: Sequence[TextPair],
    tasks: Sequence[int],
    weights: Sequence[float],
    vocabulary: Vocabulary,
    lengths: Lengths,
) -> list[Example]:
    """Tokenizes and trims a batch of text pairs.

    Args:
        pairs: rendered examples.
        tasks: each one's task number.
        weights: each one's loss weight.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
    """
    ids = vocabulary.encode_batch([pair.inputs for pair in pairs])
    ids += vocabulary.encode_batch([pair.targets for pair in pairs])
    count = len(pairs)
    return [
        build_example(ids[i], ids[count + i], tasks[i], weights[i], vocabulary, lengths)
        for i in range(count)
    ]


def build_example(
    inputs: np.ndarray,
    targets: np.ndarray,
    task: int,
    weight: float,
    vocabulary: Vocabulary,
    lengths: Lengths,
) -> Example:
    """Adds EOS and trims; `inputs` and `targets` are ids without EOS."""
    unknown = np.count_nonzero(inputs == vocabulary.unk_id)
    unknown += np.count_nonzero(targets == vocabulary.unk_id)
    inputs_room, targets_room = rooms(len(inputs), len(targets), lengths)
    tail = 1 if lengths.two_sided else 0
    return Example(
        _cut(inputs, inputs_room - tail, vocabulary.eos_id if tail else None),
        _cut(targets, targets_room - 1, vocabulary.eos_id),
        task,
        weight,
        len(inputs) + tail > inputs_room,
        len(targets) + 1 > targets_room,
        int(unknown),
    )


def rooms(num_inputs: int, num_targets: int, lengths: Lengths) -> tuple[int, int]:
    """Tokens that the inputs and the targets may take, EOS included, before both are cut.

    Args:
        num_inputs: ids of the inputs, without EOS.
        num_targets: ids of the targets, without EOS.
        lengths: the row's lengths.
    """
    if lengths.two_sided:
        return lengths.inputs, lengths.targets
    whole = lengths.inputs + lengths.targets
    inputs = max(lengths.inputs, whole - (num_targets + 1))
    targets = max(lengths.targets, whole - num_inputs)
    return inputs, targets


def encode_inputs(text: str, vocabulary: Vocabulary, lengths: Lengths) -> np.ndarray:
    """Ids of an input alone, as for generation: trimmed to its own length; EOS for two sides.

    Args:
        text: the rendered input.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
    """
    ids = vocabulary.encode_batch([text])[0]
    if lengths.two_sided:
        return _cut(ids, lengths.inputs - 1, vocabulary.eos_id)
    return _cut(ids, lengths.inputs, None)


def _cut(ids: np.ndarray, room: int, eos: int | None) -> np.ndarray:
    kept = min(len(ids), room)
    cut = np.empty(kept + (eos is not None), np.int32)
    cut[:kept] = ids[:kept]
    if eos is not None:
        cut[kept] = eos
    return cut
