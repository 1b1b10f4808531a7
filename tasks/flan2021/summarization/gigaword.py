"""Gigaword's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Sentence and headline with ordinary spacing.

    Nothing, as in the paper, where a word or a figure has been masked: a rare word is UNK in the
    dataset, and every digit #. Nor where either text is empty.
    """
    both = raw["document"] + raw["summary"]
    if "UNK" in both or "#" in both:
        return None
    text, headline = detokenize(raw["document"]), detokenize(raw["summary"])
    return {"text": text, "answer": headline} if text and headline else None
