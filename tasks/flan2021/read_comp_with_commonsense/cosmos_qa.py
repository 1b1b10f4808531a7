"""Cosmos QA's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing, and the answer once more where it says something by itself."""
    options = [detokenize(raw[f"answer{number}"]) for number in range(4)]
    answer = options[raw["label"]]
    return {
        "context": detokenize(raw["context"]),
        "question": detokenize(raw["question"]),
        "inference": "" if answer.lower().startswith("none of the above") else answer,
        "options": options,
        "answer": raw["label"],
    }
