"""IMDb's reviews as the card wants them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import one_line

_BREAK = re.compile(r"<br\s*/?>")


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Paragraphs end in `<br /><br />`, with no space around it."""
    return {"text": one_line(_BREAK.sub(" ", raw["text"])), "answer": raw["label"]}
