"""HellaSwag's records as the card wants them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import detokenize

_MARKER = re.compile(r"\[[a-z]+\]")  # [header], [title], [step], [substeps]
_LAST_OPENING = re.compile(r"(?<=[.!?] )[a-z](?=[^.!?]*$)")


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """WikiHow's markup undone, ordinary spacing, and a capital where the last sentence begins.

    ActivityNet's texts often stop after that sentence's first word, which is in small letters.
    Nothing if the label is withheld or an ending is nothing but markup.
    """
    context = without_markers(raw["context"], "\n")
    options = [without_markers(ending, " ") for ending in raw["endings"]]
    if not 0 <= raw["label"] < len(options) or not all(options):
        return None
    return {
        "activity": detokenize(raw["activity_label"]),
        "context": _LAST_OPENING.sub(lambda first: first[0].upper(), context),
        "options": options,
        "answer": raw["label"],
    }


def without_markers(text: str, separator: str) -> str:
    """The parts of a guide as sentences, with `separator` in place of the marker before each.

    A heading gets a full stop, for it stands before other text. The last part is left open: it may
    be the beginning of a sentence.
    """
    parts = [detokenize(part) for part in _MARKER.split(text)]
    *done, last = [part for part in parts if part] or [""]
    return separator.join(
        [*(part if part[-1] in ".:;,!?\"')" else f"{part}." for part in done), last]
    )
