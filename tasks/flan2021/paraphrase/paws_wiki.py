"""PAWS-Wiki's records as the card wants them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import detokenize

_RANGE = re.compile(r"(?<=\d) --? (?=\d)")


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing, also in scores and years: "6 -- 2" is "6-2"."""
    return {
        "sentence1": _RANGE.sub("-", detokenize(raw["sentence1"])),
        "sentence2": _RANGE.sub("-", detokenize(raw["sentence2"])),
        "answer": raw["label"],
    }
