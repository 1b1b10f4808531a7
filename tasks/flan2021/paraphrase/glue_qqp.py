"""QQP's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Ordinary spacing; nothing where one of the questions is empty, as a few are."""
    first, second = detokenize(raw["question1"]), detokenize(raw["question2"])
    if not first or not second:
        return None
    return {"question1": first, "question2": second, "answer": raw["label"]}
