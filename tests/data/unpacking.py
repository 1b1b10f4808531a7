"""Packed rows taken apart again: the inverse of packing, for its tests."""

from collections.abc import Mapping

import numpy as np

from flanmix.data.tokens import Example, Lengths


def unpack(
    features: Mapping[str, np.ndarray], lengths: Lengths, start_id: int | None = 0
) -> list[list[Example]]:
    """For each row of a batch, its examples (without the counters).

    Args:
        features: a batch, arrays of [rows, length].
        lengths: the lengths it was packed with.
        start_id: what its decoder-only segments begin with; None for their own first token, which
            has no loss and so is among the inputs here.
    """
    rows = []
    for number in range(len(features["decoder_segment_ids"])):
        row = {name: values[number] for name, values in features.items()}
        segments = row["decoder_segment_ids"]
        numbers = range(1, int(segments.max(initial=0)) + 1)
        rows.append([_segment(row, i, lengths, start_id) for i in numbers if i in segments])
    return rows


def _segment(
    row: Mapping[str, np.ndarray], number: int, lengths: Lengths, start_id: int | None
) -> Example:
    here = row["decoder_segment_ids"] == number
    tokens, weights = row["decoder_target_tokens"][here], row["decoder_loss_weights"][here]
    task = int(row["decoder_task_ids"][here][0])
    if lengths.two_sided:
        inputs = row["encoder_input_tokens"][row["encoder_segment_ids"] == number]
        return Example(inputs, tokens, weights, task)
    if start_id is None:
        tokens = np.concatenate([row["decoder_input_tokens"][here][:1], tokens])
        weights = np.concatenate([np.zeros(1, np.float32), weights])
    split = int(np.argmax(weights > 0))
    return Example(tokens[:split], tokens[split:], weights[split:], task)
