"""Sentiment140's tweets as the card wants them."""

import html
from typing import Any

from flanmix.registry.text_cleaning import one_line

_OPTIONS = {0: "negative", 4: "positive"}


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """No HTML entities; nothing for a neutral tweet (2), which only the test file has.

    The rest is how people wrote: their spelling, links, names and smileys stay.
    """
    if raw["polarity"] not in _OPTIONS:
        return None
    text = one_line(html.unescape(raw["text"]))
    return {"text": text, "answer": _OPTIONS[raw["polarity"]]} if text else None
