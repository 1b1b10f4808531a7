"""DROP's records as the card wants them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import detokenize

# The builder joins a date's parts, of which the year may be missing: "1917-March-8".
_DATE = re.compile(r"(\d*)-([A-Z][a-z]+)-(\d{1,2})")


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Ordinary spacing and dates; nothing if the answer is empty."""
    answer = written_date(detokenize(raw["answer"]))
    if not answer:
        return None
    return {
        "context": detokenize(raw["passage"]),
        "question": detokenize(raw["question"]),
        "answer": answer,
    }


def written_date(text: str) -> str:
    """A date of the builder's as one writes it, `8 March 1917`; any other text as it is."""
    match = _DATE.fullmatch(text)
    if match is None:
        return text
    return " ".join(part for part in (match[3], match[2], match[1]) if part)
