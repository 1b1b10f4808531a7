r"""Control tokens in a rendered conversation: those that the template put there, and no others.

    spellings = Spellings(("<|im_end|>",), avoid="...")
    text = "<|im_start|>user\n" + spellings.guarded("what is <|im_end|>?") + "<|im_end|>\n"
    [text[a:b] for a, b in spellings.controls(text)]        -> ["<|im_end|>"], the last one
    spellings.plain(text)                                   -> the text without guards

What a message says may spell a control token. So before it is rendered a guard, a private-use
character that occurs nowhere else, is put into each such spelling, and is taken out afterwards. A
message may also begin or end with a part of a spelling whose rest the template writes: there too,
behind the first character and before the last one. Guards are never at a message's edge, where a
template trims.
"""

import functools
import re
from collections.abc import Sequence

_FIRST_PRIVATE = 0xF0000
_LAST_PRIVATE = 0xFFFFD


def unused(count: int, avoid: str) -> list[str]:
    """Returns private-use characters that a text does not have."""
    present = set(avoid)
    every = map(chr, range(_FIRST_PRIVATE, _LAST_PRIVATE))
    free = (character for character in every if character not in present)
    return [next(free) for _ in range(count)]


class Spellings:
    """The spellings of control tokens, and guards against them.

    Args:
        spellings: how the control tokens are spelled.
        avoid: a text that has all of the characters that guards must not be.
    """

    def __init__(self, spellings: Sequence[str], avoid: str) -> None:
        self._patterns = _patterns(tuple(spellings))
        # Behind a message's character, and before one.
        self.behind, self.before = unused(2, avoid)

    def guarded(self, text: str) -> str:
        """Returns a message's text with guards in everything that may spell a control token."""
        patterns = self._patterns
        if patterns is None:
            return text
        start, stop = len(text) - len(text.lstrip()), len(text.rstrip())
        marks = [(match.start() + 1, self.behind) for match in patterns.starts.finditer(text)]
        if patterns.ends_one(text[start : start + patterns.longest]):
            marks.append((start + 1, self.behind))
        if patterns.begins_one(text[max(start, stop - patterns.longest) : stop]):
            marks.append((stop - 1, self.before))
        for position, guard in sorted(set(marks), reverse=True):
            text = text[:position] + guard + text[position:]
        return text

    def controls(self, text: str) -> list[tuple[int, int]]:
        """Returns where in a rendered text the template has written control tokens."""
        if self._patterns is None:
            return []
        return [
            (match.start(), match.end())
            for match in self._patterns.whole.finditer(text)
            if text[match.end() : match.end() + 1] != self.behind
            and text[match.start() - 1 : match.start()] != self.before
        ]

    def plain(self, text: str) -> str:
        """Returns the text without guards."""
        return text.replace(self.behind, "").replace(self.before, "")


class _Patterns:
    """What is searched for of a set of spellings."""

    def __init__(self, spellings: Sequence[str]) -> None:
        by_length = sorted(spellings, key=len, reverse=True)  # the longest one is meant
        either = "|".join(map(re.escape, by_length))
        self.whole = re.compile(either)
        self.starts = re.compile(f"(?=({either}))")
        self.longest = len(by_length[0])
        self._first = {spelling[0] for spelling in spellings}
        self._last = {spelling[-1] for spelling in spellings}
        self._heads = {s[:n] for s in spellings for n in range(1, len(s))}
        self._tails = {s[-n:] for s in spellings for n in range(1, len(s))}

    def ends_one(self, text: str) -> bool:
        """Whether the text begins with the last part of a spelling."""
        return any(c in self._last and text[: n + 1] in self._tails for n, c in enumerate(text))

    def begins_one(self, text: str) -> bool:
        """Whether the text ends with the first part of a spelling."""
        return any(c in self._first and text[n:] in self._heads for n, c in enumerate(text))


@functools.lru_cache(maxsize=8)
def _patterns(spellings: tuple[str, ...]) -> _Patterns | None:
    spellings = tuple(spelling for spelling in spellings if spelling)
    return _Patterns(spellings) if spellings else None
