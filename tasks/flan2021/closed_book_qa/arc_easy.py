"""ARC's records as the card wants them."""

from typing import Any


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The four answers, and the number of the right one; nothing if there are more or fewer.

    The key is a letter's number among A to E. It is looked up among the letters of this question,
    which need not start with A.
    """
    choices = raw["choices"]
    if len(choices["text"]) != 4 or raw["answerKey"] not in choices["label"]:
        return None
    return {
        "question": raw["question"],
        "options": choices["text"],
        "answer": choices["label"].index(raw["answerKey"]),
    }
