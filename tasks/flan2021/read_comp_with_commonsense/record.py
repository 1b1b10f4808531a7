"""ReCoRD's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line

_BLANK = "____"
_HIGHLIGHT = "@highlight"
_PLACEHOLDER = "@placeholder"


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The story in paragraphs, the sentence with a blank, and the story's names as options.

    Nothing if the answer is withheld.
    """
    if not raw["answers"]:
        return None
    answer = one_line(raw["answers"][0])
    return {
        "passage": story(raw["passage"]),
        "query": one_line(raw["query"].replace(_PLACEHOLDER, _BLANK)),
        "options": names(raw["entities"], raw["answers"]),
        "answer": answer,
    }


def names(entities: list[str], answers: list[str]) -> list[str]:
    """The story's names; of several right ones the first, so that one option is right."""
    others = {one_line(text) for text in answers} - {one_line(answers[0])}
    found = dict.fromkeys(one_line(text) for text in [*entities, answers[0]])
    return sorted(name for name in found if name and name not in others)


def story(text: str) -> str:
    """The text, and each of its summary points as a sentence in a line of its own."""
    parts = [one_line(part) for part in text.split(_HIGHLIGHT)]
    return "\n".join(part if part[-1] in ".!?\"'" else f"{part}." for part in parts if part)
