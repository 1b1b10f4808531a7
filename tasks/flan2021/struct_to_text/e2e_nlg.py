"""E2E's records as the card wants them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import one_line

_ATTRIBUTE = re.compile(r"([^,\[\]]+)\[([^\]]*)\]")


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The meaning representation in two notations, and all references."""
    meaning = raw["meaning_representation"]
    details = [f"{name.strip()}: {value}" for name, value in _ATTRIBUTE.findall(meaning)]
    references = raw["references"] or [raw["target"]]
    return {
        "meaning": meaning,
        "details": "; ".join(details),
        "answer": [one_line(text) for text in references],
    }
