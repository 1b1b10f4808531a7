"""Three tasks made from English running text: spoil it, and have it mended."""

import re
from typing import Any

from flanmix.registry.text_cleaning import one_line

_PUNCTUATION = re.compile(r"[^\w\s]")


def small_letters(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The text without capitals; nothing if it has none."""
    text = one_line(raw["en"])
    lower = text.lower()
    return None if lower == text else {"lower": lower, "answer": text}


def no_punctuation(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The text without punctuation and other signs; nothing if it has none or nothing else."""
    text = one_line(raw["en"])
    bare = one_line(_PUNCTUATION.sub("", text))
    return None if bare in ("", text) else {"no_punct": bare, "answer": text}


def no_spaces(raw: dict[str, Any]) -> dict[str, Any]:
    """The text with all its words run together."""
    text = one_line(raw["en"])
    return {"no_space": text.replace(" ", ""), "answer": text}
