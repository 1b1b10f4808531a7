"""The records of both SQuADs as their cards want them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line

_NO_ANSWER = "unanswerable"


def answered(raw: dict[str, Any]) -> dict[str, Any]:
    """SQuAD 1.1: spaces instead of a title's underscores, and all answers.

    Nothing else is changed, so that the answers stay stretches of the paragraph.
    """
    return {
        "title": raw["title"].replace("_", " "),
        "context": one_line(raw["context"]),
        "question": one_line(raw["question"]).replace(" ?", "?"),
        "answer": [one_line(text) for text in raw["answers"]["text"]],
    }


def answered_or_not(raw: dict[str, Any]) -> dict[str, Any]:
    """SQuAD 2.0: the same, and one word where the paragraph does not answer the question.

    The answers that such a question may seem to have are not used.
    """
    record = answered(raw)
    if raw["is_impossible"]:
        record["answer"] = [_NO_ANSWER]
    return record
