"""Story Cloze records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The endings by themselves and the right one's number, which the dataset counts from 1.

    Nothing if it is withheld.
    """
    if raw["label"] not in (1, 2):
        return None
    ending1, ending2 = (one_line(ending) for ending in raw["endings"])
    return {
        "context": one_line(raw["context"]),
        "ending1": ending1,
        "ending2": ending2,
        "answer": raw["label"] - 1,
    }
