"""CommitmentBank's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary quotation marks, and a clause that can stand inside a sentence."""
    return {
        "premise": detokenize(raw["premise"]),
        "hypothesis": detokenize(raw["hypothesis"]).rstrip("."),
        "answer": raw["label"],
    }
