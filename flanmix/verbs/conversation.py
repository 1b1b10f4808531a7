"""Talking with a model on a terminal: prompts are typed, texts come token by token.

    > What is 2 + 3?
    5
    > ^D

Each prompt stands alone, unless the conversation keeps its turns, as a chat does: then `ids_of`
gets all turns so far, the user's and the model's in alternation, and the oldest are left out when
the model can't read them all.
"""

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from flanmix.console import printable, warn

_PROMPT = "> "


def converse(
    ids_of: Callable[[Sequence[str]], tuple[np.ndarray, bool]],
    stream: Callable[[np.ndarray], Iterator[str]],
    *,
    keeps_turns: bool,
    stops: Sequence[str] = (),
) -> None:
    """Asks and answers until the input ends.

    Args:
        ids_of: the ids of turns, of which the last is the user's, and whether they are too long and
            were truncated.
        stream: yields the text that a model writes to ids, longer each time.
        keeps_turns: whether a turn sees those before it.
        stops: texts that end a text; what may be the beginning of one is held back.
    """
    turns: list[str] = []
    while (typed := _typed()) is not None:
        if not typed.strip():
            continue
        turns = [*turns, typed] if keeps_turns else [typed]
        ids, too_long = ids_of(turns)
        if too_long and len(turns) > 1:
            warn("the conversation is too long: its oldest turns are left out")
        while too_long and len(turns) > 1:
            turns = turns[2:]
            ids, too_long = ids_of(turns)
        if too_long:
            warn("this is too long and was truncated")
        text = _shown(stream(ids), stops)
        turns = [*turns, text]


def _typed() -> str | None:
    """A line of the terminal; None where there are no more."""
    try:
        return input(_PROMPT)
    except EOFError:
        print()
        return None


def _shown(texts: Iterator[str], stops: Sequence[str]) -> str:
    """Prints a text as it grows; returns all of it."""
    shown, text = "", ""
    for text in texts:
        shown = _print_more(shown, settled(text, stops))
    _print_more(shown, text)
    print()
    return text


def _print_more(shown: str, text: str) -> str:
    if text.startswith(shown):
        sys.stdout.write(printable(text[len(shown) :]))
        sys.stdout.flush()
        return text
    return shown  # the vocabulary spells what came before differently now


def settled(text: str, stops: Sequence[str]) -> str:
    """Returns the part of a growing text that what is to come won't change.

    Held back are a character that is not whole yet, and what may be the beginning of a stop string.
    """
    text = text.rstrip("\ufffd")
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:length]):
                text = text[:-length]
                break
    return text
