"""PIQA's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Single spaces, none at the ends."""
    return {
        "goal": one_line(raw["goal"]),
        "solution1": one_line(raw["sol1"]),
        "solution2": one_line(raw["sol2"]),
        "answer": raw["label"],
    }
