"""COPA's records as the card wants them."""

from typing import Any

_CONJUNCTION = {"cause": "because", "effect": "so"}


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Adds the event as the opening of a sentence that its cause or effect would end."""
    opening = f"{raw['premise'].rstrip('. ')} {_CONJUNCTION[raw['question']]}"
    return {**raw, "opening": opening, "answer": raw["label"]}
