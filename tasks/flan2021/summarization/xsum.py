"""XSum's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line, tidy_lines


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Story and first sentence with ordinary quotation marks; nothing where either is empty."""
    text = tidy_lines(raw["document"].replace("''", '"'))
    summary = one_line(raw["summary"].replace("''", '"'))
    return {"text": text, "answer": summary} if text and summary else None
