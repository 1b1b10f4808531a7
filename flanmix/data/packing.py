"""Packing: several examples in a row, kept apart by segment ids and positions.

Encoder-decoder (inputs_length 6, targets_length 4; EOS is 1; examples 5 6 1 -> 7 1 and 8 1 -> 9 1):

    encoder_input_tokens   5 6 1 8 1 0        decoder_target_tokens  7 1 9 1
    encoder_segment_ids    1 1 1 2 2 0        decoder_input_tokens   0 7 0 9
    encoder_positions      0 1 2 0 1 0        decoder_segment_ids    1 1 2 2
                                              decoder_positions      0 1 0 1
                                              decoder_loss_weights   1 1 1 1

Decoder-only (one row of inputs_length + targets_length; examples 5 6 -> 7 1 and 8 -> 9 1):

    decoder_target_tokens  5 6 7 1 8 9 1 0 0 0     decoder_segment_ids   1 1 1 1 2 2 2 0 0 0
    decoder_input_tokens   0 5 6 7 0 8 9 0 0 0     decoder_positions     0 1 2 3 0 1 2 0 0 0
    decoder_loss_weights   0 0 1 1 0 1 1 0 0 0     decoder_prefix        1 1 1 0 1 1 0 0 0 0

A segment's `decoder_input_tokens` begin with 0 for encoder-decoder, as T5's do whatever `<s>` the
vocabulary has; for decoder-only with the vocabulary's `start_id`. Where that is None, a segment
begins with its own first token, which nothing predicts, and is one shorter:

    decoder_target_tokens  6 7 1 9 1 0 0 0 0 0     decoder_segment_ids   1 1 1 2 2 0 0 0 0 0
    decoder_input_tokens   5 6 7 8 9 0 0 0 0 0     decoder_positions     0 1 2 0 1 0 0 0 0 0
    decoder_loss_weights   0 1 1 1 1 0 0 0 0 0     decoder_prefix        1 1 0 1 0 0 0 0 0 0

So of an example without inputs the first target is not learnt then, nor is EOS alone. Loss weights
are the examples', token by token. `decoder_prefix` (prefix-LM only) marks the start token and the
inputs, which see one another both ways. Segment id 0 is padding. `decoder_task_ids` holds the
task's number in the mixture at every token, and `row_stats` counts examples, inputs truncated,
targets truncated and unknown tokens of the row.

A row begins with the oldest pending example, so that nothing waits for ever; then come those that
best fill what is left of both sides at once. That is vector packing, and greedy: the row is filled
twice, once by the tightest fit and once by the best balanced one, and the fuller row is kept.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from flanmix.data.tokens import Example, Lengths

# P: pending examples.

DECODER_START = 0  # what an encoder-decoder's decoder reads before its first token
POOL = 64  # pending examples to choose from; a stream's state holds their numbers

Features = dict[str, np.ndarray]


def most_pending(streams: int) -> int:
    """How many examples of packed streams at most have been drawn, and wait, after a batch."""
    return streams * (POOL - 1)


def choose_row(sizes: Int64[np.ndarray, "P 2"], capacity: tuple[int, int]) -> list[int]:
    """Chooses which pending examples make the next row.

    Args:
        sizes: tokens of the inputs and targets of each, oldest first; each fits `capacity`.
        capacity: tokens of an empty row's two sides (the second is 0 for decoder-only).

    Returns:
        Indices into `sizes`, in order; the first is 0.
    """
    # Both sides in the same unit, so that half a row of inputs weighs as much as half of targets.
    inputs = sizes[:, 0] * max(capacity[1], 1)
    targets = sizes[:, 1] * max(capacity[0], 1)
    empty = (capacity[0] * max(capacity[1], 1), capacity[1] * max(capacity[0], 1))
    rules = (_tightest, _balanced) if capacity[1] else (_tightest,)
    rows = [_fill(inputs, targets, empty, rule) for rule in rules]
    return sorted(min(rows, key=lambda row: row[0])[1])


def _tightest(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.maximum(inputs, targets)


def _balanced(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return inputs + targets + 2 * np.abs(inputs - targets)


def _fill(
    inputs: np.ndarray,
    targets: np.ndarray,
    capacity: tuple[int, int],
    rule: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[int, list[int]]:
    """Fills a row greedily by the rule's cost of what stays empty; (emptiness, indices)."""
    inputs = inputs.copy()
    too_many = capacity[0] + capacity[1] + 1
    inputs_left, targets_left = capacity
    chosen: list[int] = []
    index = 0
    while True:
        chosen.append(index)
        inputs_left -= int(inputs[index])
        targets_left -= int(targets[index])
        inputs[index] = too_many
        inputs_after, targets_after = inputs_left - inputs, targets_left - targets
        cost = rule(inputs_after, targets_after)
        cost[np.minimum(inputs_after, targets_after) < 0] = np.iinfo(np.int64).max
        index = int(cost.argmin())
        if inputs_after[index] < 0 or targets_after[index] < 0:
            return inputs_left + targets_left, chosen


def pack_row(examples: Sequence[Example], lengths: Lengths, start_id: int | None) -> Features:
    """Builds the features of one row; each is a vector, see the module docstring.

    Args:
        examples: what the row holds, in order; together they fit it.
        lengths: the row's lengths.
        start_id: id that begins a decoder-only segment; None where its own first token does.
    """
    num_inputs = np.array([len(example.inputs) for example in examples])
    num_targets = np.array([len(example.targets) for example in examples])
    targets = [example.targets for example in examples]
    weights = [example.weights for example in examples]
    row: Features = {}
    if lengths.two_sided:
        inputs = [example.inputs for example in examples]
        _add_side(row, "encoder", "input", inputs, num_inputs, lengths.inputs)
        length, sizes = lengths.targets, num_targets
    else:
        length, sizes = lengths.inputs + lengths.targets, num_inputs + num_targets
        targets = [ids for example in examples for ids in (example.inputs, example.targets)]
        weights = [
            part
            for example in examples
            for part in (np.zeros(len(example.inputs), np.float32), example.weights)
        ]
    start = DECODER_START if lengths.two_sided else start_id
    tokens, losses = np.concatenate(targets), np.concatenate(weights)
    if start is None:
        read, tokens, losses, sizes = _without_first(tokens, losses, sizes)
    else:
        read = _shifted(tokens, sizes, start)
    _add_side(row, "decoder", "target", [tokens], sizes, length)
    row["decoder_input_tokens"] = _padded(read, length, np.int32)
    tasks = np.array([example.task for example in examples], np.int32)
    row["decoder_task_ids"] = _padded(np.repeat(tasks, sizes), length, np.int32)
    row["decoder_loss_weights"] = _padded(losses, length, np.float32)
    if lengths.architecture == "prefix":
        ones = np.ones(len(examples), np.int32)
        num_read = num_inputs + (start is not None)
        prefix = _by_part(ones, num_read, 0 * ones, num_targets - 1)
        row["decoder_prefix"] = _padded(prefix, length, np.int32)
    stats = [(1, e.inputs_truncated, e.targets_truncated, e.unknown) for e in examples]
    row["row_stats"] = np.array(stats, np.int64).sum(axis=0).astype(np.int32)
    return row


def _add_side(
    row: Features, side: str, kind: str, ids: list[np.ndarray], sizes: np.ndarray, length: int
) -> None:
    """Tokens, segment ids and positions of one side."""
    total = int(sizes.sum())
    if total > length:
        raise ValueError(f"{total} {side} tokens do not fit a row of {length}")
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    segments = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    row[f"{side}_{kind}_tokens"] = _padded(np.concatenate(ids), length, np.int32)
    row[f"{side}_segment_ids"] = _padded(segments, length, np.int32)
    row[f"{side}_positions"] = _padded(np.arange(total) - starts, length, np.int32)


def _padded(values: np.ndarray, length: int, dtype: type) -> np.ndarray:
    padded = np.zeros(length, dtype)
    padded[: len(values)] = values
    return padded


def _shifted(tokens: np.ndarray, sizes: np.ndarray, start: int) -> np.ndarray:
    """Tokens moved right by one within each segment, which begins with the start token."""
    shifted = np.empty_like(tokens)
    shifted[1:] = tokens[:-1]
    shifted[np.cumsum(sizes) - sizes] = start
    return shifted


def _without_first(
    tokens: np.ndarray, weights: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(read, predicted, its weights, segment sizes), where each token is read for the next one."""
    last = np.cumsum(sizes) - 1
    first = last + 1 - sizes
    return np.delete(tokens, last), np.delete(tokens, first), np.delete(weights, first), sizes - 1


def _by_part(
    first: np.ndarray, num_first: np.ndarray, second: np.ndarray, num_second: np.ndarray
) -> np.ndarray:
    """Each example's `first` value `num_first` times, then its `second` one `num_second` times."""
    values = np.stack([first, second], axis=1).reshape(-1)
    return np.repeat(values, np.stack([num_first, num_second], axis=1).reshape(-1))
