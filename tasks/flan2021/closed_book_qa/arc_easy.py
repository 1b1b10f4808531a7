"""ARC's records as the card wants them."""

from typing import Any


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The four answers, also in one line, and the right one's number; nothing if there aren't four.

    The key is a letter's number among A to E. It is looked up among the letters of this question,
    which need not start with A.
    """
    choices = raw["choices"]
    if len(choices["text"]) != 4 or raw["answerKey"] not in choices["label"]:
        return None
    return {
        "question": raw["question"],
        "listed": " / ".join(choices["text"]),
        "options": choices["text"],
        "answer": choices["label"].index(raw["answerKey"]),
    }
