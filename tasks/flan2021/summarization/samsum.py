"""SAMSum's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line, tidy_lines


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """A line per message; nothing for the record whose dialogue is empty."""
    dialogue, summary = tidy_lines(raw["dialogue"]), one_line(raw["summary"])
    return {"dialogue": dialogue, "answer": summary} if dialogue and summary else None
