"""What every tokenizer does alike with ids and texts.

kept_ids([5, 0, 999, 1, 7], byte)  ->  [5, 2]      # pad 0 dropped, 999 unknown, 1 ends
is_control("<|im_end|>"), is_control("<b>")  ->  True, False

`flanmix.data.vocabulary` says what these are for.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

_LANES = 128
# Spellings that tokenizers give to control tokens, for those that do not say so themselves.
_CONTROL = re.compile(
    r"<\|[^<>]*\|>|</?s>|<(pad|unk|bos|eos|mask|(extra_id|unused|reserved)[\w-]*)>"
    r"|<(start|end)_of_\w+>|\[(PAD|UNK|CLS|SEP|MASK|/?INST)\]"
)


class ControlIds(Protocol):
    """The ids of a vocabulary that are no text."""

    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def pad_id(self) -> int | None: ...  # noqa: D102
    @property
    def unk_id(self) -> int | None: ...  # noqa: D102
    @property
    def end_ids(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def special_tokens(self) -> Mapping[str, int]: ...  # noqa: D102


def kept_ids(ids: Iterable[int], vocabulary: ControlIds) -> list[int]:
    """The ids before the first that ends a text: those of text, and unknown ones.

    Padding and control tokens go. Ids that are not assigned become unknown, and go where there is
    no unknown piece.
    """
    unknown = vocabulary.unk_id
    dropped = {vocabulary.pad_id, *vocabulary.special_tokens.values()} - {unknown}
    kept = []
    for number in map(int, ids):
        if number in vocabulary.end_ids:
            break
        if number in dropped:
            continue
        known = number if 0 <= number < vocabulary.size else unknown
        if known is not None:
            kept.append(known)
    return kept


def rows_for(size: int) -> int:
    """A number of ids rounded up to a multiple of 128: rows of an embedding table."""
    return -(-size // _LANES) * _LANES


def encodable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot hold, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def is_control(spelling: str) -> bool:
    """Whether a piece is spelled as control tokens are."""
    return _CONTROL.fullmatch(spelling.removeprefix("▁")) is not None
