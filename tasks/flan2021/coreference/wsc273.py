"""The original Winograd schemas as the card wants them: a beginning and two ways to go on."""

from typing import Any

from flanmix.spec.typography import one_line

_POSSESSIVE = {"his", "her", "its", "their"}


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The text up to the pronoun, and the rest with either candidate in the pronoun's place."""
    start, stop = raw["pronoun_start"], raw["pronoun_end"]
    pronoun, rest = raw["text"][start:stop], raw["text"][stop:]
    candidates = [raw["option1_normalized"].strip(), raw["option2_normalized"].strip()]
    return {
        "text": one_line(raw["text"]),
        "beginning": one_line(raw["text"][:start]),
        "pronoun": pronoun,
        "candidate1": candidates[0],
        "candidate2": candidates[1],
        "endings": [one_line(in_place_of(pronoun, text, rest) + rest) for text in candidates],
        "answer": raw["label"],
    }


def in_place_of(pronoun: str, candidate: str, rest: str) -> str:
    """A candidate as it stands for a pronoun: "her back" becomes "the woman's back"."""
    owns = pronoun.lower() in _POSSESSIVE and rest[:1] == " " and rest[1:2].isalnum()
    quoted = pronoun.lower() in _POSSESSIVE and rest[:2] == ' "'
    if not (owns or quoted) or candidate.endswith("'s"):
        return candidate
    return f"{candidate}'" if candidate.endswith("s") else f"{candidate}'s"
