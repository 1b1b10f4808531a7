"""STS-B's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing, and the mean of the annotators' scores as a whole number.

    A half goes to the even neighbour, as the paper's own formatting rounds it.
    """
    return {
        "sentence1": detokenize(raw["sentence1"]),
        "sentence2": detokenize(raw["sentence2"]),
        "answer": f"{raw['label']:.0f}",
    }
