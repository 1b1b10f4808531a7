"""SNLI's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Ordinary spacing; nothing for a pair without an agreed label."""
    if raw["label"] < 0:
        return None
    return {
        "premise": detokenize(raw["premise"]),
        "hypothesis": detokenize(raw["hypothesis"]),
        "answer": raw["label"],
    }
