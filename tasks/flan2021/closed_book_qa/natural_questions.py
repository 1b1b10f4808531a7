"""Natural Questions' records as the card wants them."""

from typing import Any


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The query with its question mark, and all its answers."""
    return {"question": raw["question"].rstrip("? ") + "?", "answer": raw["answer"]}
