"""The records of idebate.org as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line

_MOST = 10  # as in the paper


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The first ten sentences of the argument under numbers; nothing without claim or argument."""
    sentences = [one_line(text) for text in raw["_argument_sentences"]["value"]]
    sentences = [text for text in sentences if text][:_MOST]
    debate, claim = one_line(raw["_debate_name"]), one_line(raw["_claim"])
    if not debate or not claim or not sentences:
        return None
    numbered = (f"{number}. {text}" for number, text in enumerate(sentences, start=1))
    return {"debate": debate, "arguments": "\n".join(numbered), "answer": claim}
