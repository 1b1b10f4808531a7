"""The original Winograd schemas as the card wants them: a beginning and two ways to go on."""

import re
from typing import Any

from flanmix.registry.text_cleaning import one_line

_CANDIDATES = ("option1_normalized", "option2_normalized")
_PERSONAL = {"he", "him", "his", "she", "her"}
_POSSESSIVE = {"his", "her", "its", "their"}
_NOUN = re.compile(r" [\w\"]")  # after a pronoun at the end of its clause there is none


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The text up to the pronoun, and the rest with either candidate in the pronoun's place."""
    start, stop = raw["pronoun_start"], raw["pronoun_end"]
    pronoun, rest = raw["text"][start:stop], raw["text"][stop:]
    candidates = [candidate(pronoun, raw[name]) for name in _CANDIDATES]
    return {
        "text": one_line(raw["text"]),
        "beginning": one_line(raw["text"][:start]),
        "pronoun": pronoun,
        "candidate1": candidates[0],
        "candidate2": candidates[1],
        "endings": [one_line(in_place_of(pronoun, text, rest) + rest) for text in candidates],
        "answer": raw["label"],
    }


def candidate(pronoun: str, option: str) -> str:
    """An option as a noun: the owner of something may be stored as "Ann's", who is "she"."""
    option = option.strip()
    return option.removesuffix("'s") if pronoun.lower() in _PERSONAL else option


def in_place_of(pronoun: str, noun: str, rest: str) -> str:
    """A noun as it stands for a pronoun: "her back" becomes "the woman's back"."""
    if pronoun.lower() not in _POSSESSIVE or not _NOUN.match(rest):
        return noun
    return f"{noun}'" if noun.endswith("s") else f"{noun}'s"
