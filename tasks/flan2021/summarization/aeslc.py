"""AESLC's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Body and subject in one line each; nothing for a message that lacks either."""
    body, subject = one_line(raw["email_body"]), one_line(raw["subject_line"])
    return {"body": body, "answer": subject} if body and subject else None
