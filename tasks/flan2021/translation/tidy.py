"""Records of the translation tasks as their cards want them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line


def single_spaces(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Both sides with single spaces; nothing for a pair of which one side is blank."""
    pair = {language: one_line(text) for language, text in raw.items()}
    return pair if all(pair.values()) else None
