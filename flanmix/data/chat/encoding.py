r"""Spans of a conversation to ids: control tokens by their spelling, the text between them whole.

    encode_chats([[Span("<|im_start|>", False, control=True), Span("user\n", False),
                   Span("2 + 3?", False, content=True), ...]], vocabulary)
    -> [[Encoded([1], False, False), Encoded([4093, 198], False, False),
         Encoded([34, 1232, 35, 47], False, True), ...]]

The spans between two control tokens are one text, encoded in one go, as the field encodes a
rendered conversation; each span gets the ids that a text which ends with it has in common with
it. Only where loss begins or ends is a text parted if a token would reach over that: before an
answer stands what a model is asked with, and it can't know how the answer goes on.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flanmix.data.render import Span
from flanmix.data.vocabulary import Vocabulary


class Encoded(NamedTuple):
    """The ids of a span.

    Attributes:
        ids: i32 ids.
        has_loss: whether the model learns to write it.
        content: whether it is what a message says; what is not is never truncated.
        control: whether it is a control token.
    """

    ids: np.ndarray
    has_loss: bool
    content: bool
    control: bool = False


def encode_chats(chats: Sequence[Sequence[Span]], vocabulary: Vocabulary) -> list[list[Encoded]]:
    """Encodes conversations.

    Args:
        chats: the spans of each.
        vocabulary: has the control tokens.
    """
    parts = [_parts(spans) for spans in chats]
    runs = iter(_encode_runs([part for own in parts for part in own if _is_run(part)], vocabulary))
    encoded = []
    for own in parts:
        spans: list[Encoded] = []
        for part in own:
            if _is_run(part):
                spans += next(runs)
            else:
                number = vocabulary.special_tokens[part[0].text]
                one = np.array([number], np.int32)
                spans.append(Encoded(one, part[0].has_loss, content=False, control=True))
        encoded.append(spans)
    return encoded


def _parts(spans: Sequence[Span]) -> list[list[Span]]:
    """Control spans, each by itself, and the runs of others between them."""
    parts: list[list[Span]] = []
    for span in spans:
        if span.control or not parts or not _is_run(parts[-1]):
            parts.append([span])
        else:
            parts[-1].append(span)
    return parts


def _is_run(part: Sequence[Span]) -> bool:
    return not part[0].control


def _encode_runs(runs: Sequence[Sequence[Span]], vocabulary: Vocabulary) -> list[list[Encoded]]:
    """Encodes each run as one text; as several where a token would reach over a change of loss."""
    texts = list(dict.fromkeys(text for run in runs for text in _prefixes(run)))
    ids = dict(zip(texts, vocabulary.encode_batch(texts), strict=True))
    encoded = [_divided(run, ids) for run in runs]
    crossed = [number for number, spans in enumerate(encoded) if spans is None]
    groups = [_by_loss(runs[number]) for number in crossed]
    if groups:
        flat = [group for run in groups for group in run]
        again = iter(_encode_runs(flat, vocabulary))
        for number, run in zip(crossed, groups, strict=True):
            encoded[number] = [span for _ in run for span in next(again)]
    return [spans for spans in encoded if spans is not None]


def _prefixes(run: Sequence[Span]) -> list[str]:
    """The texts that end with each of a run's spans."""
    return list(itertools.accumulate(span.text for span in run))


def _divided(run: Sequence[Span], ids: Mapping[str, np.ndarray]) -> list[Encoded] | None:
    """A run's ids, span by span; None if a token reaches over a change of loss."""
    prefixes = [ids[text] for text in _prefixes(run)]
    whole = prefixes[-1]
    ends = [_common(prefix, whole) for prefix in prefixes]
    for (one, other), prefix, end in zip(itertools.pairwise(run), prefixes, ends, strict=False):
        if one.has_loss != other.has_loss and end < len(prefix):
            return None
    starts = [0, *ends]
    return [
        Encoded(whole[start : max(start, end)], span.has_loss, span.content)
        for span, start, end in zip(run, itertools.accumulate(starts, max), ends, strict=False)
    ]


def _common(ids: np.ndarray, others: np.ndarray) -> int:
    """How many ids two arrays have in common from the first on."""
    shared = min(len(ids), len(others))
    different = np.flatnonzero(ids[:shared] != others[:shared])
    return int(different[0]) if different.size else shared


def _by_loss(run: Sequence[Span]) -> list[list[Span]]:
    """A run's spans, parted where loss begins or ends."""
    return [list(spans) for _, spans in itertools.groupby(run, key=lambda span: span.has_loss)]
