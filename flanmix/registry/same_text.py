r"""Whether two texts say the same: what a reader can't see, or wouldn't count, set aside.

    folded("Ｃafe\u0301 \u200bSTRASSE")    -> "café strasse"
    as_said("It  RAINS.\n") == as_said("it rains.")

Folded are case, Unicode's several forms of one character (NFC and NFD, full-width letters,
ligatures) and characters that are shown as nothing: zero-width spaces, soft hyphens, direction
marks, variation selectors. White space is one space, and none at the ends.
"""

import re
from unicodedata import is_normalized, normalize

# Default_Ignorable_Code_Point of Unicode 15; the unassigned ones among them too.
_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)


def folded(text: str) -> str:
    """The text in one Unicode form (NFKC), without case and without what can't be seen."""
    if text.isascii():
        return text.lower()
    # Between a letter and its accent what can't be seen would keep them apart. Most texts have
    # none: their few different characters tell that sooner than the text.
    if _IGNORED.search("".join(set(text))):
        text = _IGNORED.sub("", text)
    return _normal(_normal(text).casefold())


def as_said(text: str) -> str:
    """The folded text with white space collapsed: equal for twins."""
    return " ".join(folded(text).split())


def _normal(text: str) -> str:
    return text if is_normalized("NFKC", text) else normalize("NFKC", text)
