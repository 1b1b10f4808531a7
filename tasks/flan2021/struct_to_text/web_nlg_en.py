"""WebNLG's records as the card wants them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import one_line


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The triples in one line and in a list, the category in words, and all references."""
    triples = [one_line(triple.replace("_", " ")) for triple in raw["input"]]
    references = raw["references"] or [raw["target"]]
    return {
        "triples": "; ".join(triples),
        "lines": "\n".join(f"- {triple}" for triple in triples),
        "category": re.sub(r"(?<=[a-z])(?=[A-Z])", " ", raw["category"]).lower(),
        "answer": references,
    }
