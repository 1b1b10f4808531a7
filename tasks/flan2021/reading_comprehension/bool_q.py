"""BoolQ's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary quotation marks, and the query as a written question."""
    question = detokenize(raw["question"]).rstrip("?. ")
    return {
        "title": raw["title"],
        "text": detokenize(raw["passage"]),
        "question": question[:1].upper() + question[1:] + "?",
        "answer": raw["answer"],
    }
