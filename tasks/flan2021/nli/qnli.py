"""QNLI's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing."""
    return {
        "question": detokenize(raw["question"]),
        "sentence": detokenize(raw["sentence"]),
        "answer": raw["label"],
    }
