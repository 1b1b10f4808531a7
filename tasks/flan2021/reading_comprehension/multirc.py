"""MultiRC's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing, and the proposed answer once more where it is right."""
    response = detokenize(raw["answer"])
    return {
        "paragraph": detokenize(raw["paragraph"]),
        "question": detokenize(raw["question"]),
        "response": response,
        "right_response": response if raw["label"] == 1 else "",
        "answer": raw["label"],
    }
