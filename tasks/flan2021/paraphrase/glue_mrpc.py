"""MRPC's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing and quotation marks."""
    return {
        "sentence1": detokenize(raw["sentence1"]),
        "sentence2": detokenize(raw["sentence2"]),
        "answer": raw["label"],
    }
