"""TriviaQA's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize

_UNKNOWN = ("", "<unk>")  # what the builder writes where the answer is withheld


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The question, and its answer before the aliases; nothing if the answer is withheld."""
    answer = raw["answer"]
    if answer["value"] in _UNKNOWN:
        return None
    return {
        "question": detokenize(raw["question"]),
        "answer": [answer["value"], *answer["aliases"]],
    }
