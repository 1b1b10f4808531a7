"""CommonGen's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The concepts in one line and in rows, and all references."""
    references = raw["references"] or [raw["target"]]
    return {
        "concepts": ", ".join(raw["concepts"]),
        "rows": "\n".join(f"- {concept}" for concept in raw["concepts"]),
        "answer": [detokenize(text) for text in references],
    }
