"""ANLI's records as the cards of its three rounds want them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import detokenize

_TITLE = re.compile(r"^([^<]{1,100}?)([.?!]?)<br>", re.IGNORECASE)
_MARKUP = re.compile(r"</?(?:br|nowiki)\s*/?>|\[(?:title|step|substeps)\]", re.IGNORECASE)


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing, and no leftovers of web pages."""
    return {
        "context": detokenize(without_markup(raw["context"])),
        "hypothesis": detokenize(without_markup(raw["hypothesis"])),
        "answer": raw["label"],
    }


def without_markup(text: str) -> str:
    """The third round's stories and instructions begin with a title and `<br>`."""
    text = _TITLE.sub(lambda title: f"{title[1]}{title[2] or ':'} ", text)
    return _MARKUP.sub(" ", text)
