r"""What stands between the inputs and the targets of a decoder-only row: a text, often a newline.

    separator_of("causal", None)                    ->  "\n"
    separator_of("encoder_decoder", None)           ->  ""        # each side has its own row
    separator_ids(load_vocabulary("byte"), "\n")    ->  [13]

Without one a tokenizer reads `... - no` and `no` as `... - nono`. Its ids are part of the inputs:
they stand behind those, however much of them is truncated, count in the budget, and bear no loss.
"""

import functools

import numpy as np

from flanmix.data.vocabulary import Vocabulary

DEFAULT = "\n"
_BEFORE = "a"  # a text that a separator follows


def separator_of(architecture: str, said: str | None) -> str:
    """Returns the separator of a model's rows; empty where there is none.

    Args:
        architecture: `encoder_decoder`, `causal` or `prefix`.
        said: the one that is asked for; None for the architecture's own.

    Raises:
        ValueError: an encoder-decoder is to have one.
    """
    if architecture != "encoder_decoder":
        return DEFAULT if said is None else said
    if said:
        raise ValueError(
            f"SEPARATOR is {said!r}: an encoder-decoder has inputs and targets in rows of their "
            "own and nothing between them; leave it out"
        )
    return ""


@functools.lru_cache(maxsize=16)
def separator_ids(vocabulary: Vocabulary, text: str) -> np.ndarray:
    """Returns the i32 ids of a separator as they follow a text; none for an empty one.

    A tokenizer that begins every text with a space of its own does not do so here.
    """
    before, whole, alone = vocabulary.encode_batch([_BEFORE, _BEFORE + text, text])
    if not text:
        return alone
    ids = whole[len(before) :] if np.array_equal(whole[: len(before)], before) else alone
    ids.setflags(write=False)
    return ids
