"""CoQA's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """A conversation's questions as one numbered list, and its answers as another."""
    return {
        "text": one_line(raw["story"]),
        "questions": numbered(raw["questions"]),
        "answer": numbered(raw["answers"]["input_text"]),
    }


def numbered(items: list[str]) -> str:
    """The items in lines that start with `1.`, `2.` and so on."""
    return "\n".join(f"{number}. {one_line(item)}" for number, item in enumerate(items, start=1))
