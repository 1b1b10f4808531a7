"""DART's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The facts in one line and in rows, and all references that are not empty."""
    facts = [one_line(fact) for fact in raw["tripleset"]]
    references = raw["references"] or [raw["target"]]
    return {
        "facts": "; ".join(facts),
        "rows": "\n".join(f"- {fact}" for fact in facts),
        "answer": [one_line(text) for text in references if text.strip()],
    }
