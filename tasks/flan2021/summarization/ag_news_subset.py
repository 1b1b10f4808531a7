"""AG News' records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize, unescape


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Title and text without HTML entities and stray backslashes."""
    return {
        "title": detokenize(unescape(raw["title"])),
        "text": detokenize(unescape(raw["description"])),
        "answer": raw["label"],
    }
