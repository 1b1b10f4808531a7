"""TREC's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing and quotation marks; the coarse label."""
    return {"question": detokenize(raw["text"]), "answer": raw["label-coarse"]}
