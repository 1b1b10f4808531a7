"""WinoGrande's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing."""
    return {
        "sentence": detokenize(raw["sentence"]),
        "option1": raw["option1"],
        "option2": raw["option2"],
        "answer": raw["label"],
    }
