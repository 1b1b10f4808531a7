"""Two small constructed languages, Talu and Brim, and English with as few words.

    English  the red dog sees the cat
    Talu     mapo runi vela kisu         (adjective behind its noun, no article)
    Brim     thod grun zek valk            (adjective before its noun, the verb last)

One stream of sentences serves every direction and the question which language a sentence is in.
"""

from collections.abc import Iterator
from typing import Any

from pocket_draws import Draws, stream

# English, Talu, Brim
NOUNS = (
    ("dog", "mapo", "grun"),
    ("cat", "kisu", "zek"),
    ("horse", "lamo", "trosh"),
    ("bird", "piri", "vink"),
    ("king", "sorua", "dremm"),
    ("child", "nino", "klet"),
    ("fish", "gulu", "plask"),
    ("wolf", "awu", "hark"),
)
VERBS = (
    ("sees", "vela", "valk"),
    ("hears", "oria", "torv"),
    ("likes", "amara", "lusk"),
    ("finds", "tova", "brink"),
    ("follows", "sika", "murn"),
    ("feeds", "dapa", "fost"),
)
ADJECTIVES = (
    ("red", "runi", "thod"),
    ("big", "molo", "skarr"),
    ("old", "yeni", "gamm"),
    ("small", "titi", "pleck"),
    ("good", "bona", "stim"),
    ("sad", "lulo", "dwerg"),
)
LANGUAGES = ("English", "Talu", "Brim")


def _sentence(draws: Draws, number: int) -> dict[str, Any]:
    subject, thing = draws.several(NOUNS, 2)
    verb = draws.pick(VERBS)
    adjective = draws.pick(ADJECTIVES)
    on_subject = draws.below(2) == 0
    return {
        "english": _english(subject, verb, thing, adjective, on_subject),
        "talu": _talu(subject, verb, thing, adjective, on_subject),
        "brim": _brim(subject, verb, thing, adjective, on_subject),
        "language": LANGUAGES[number % 3],
    }


Entry = tuple[str, str, str]


def _english(subject: Entry, verb: Entry, thing: Entry, adjective: Entry, first: bool) -> str:
    if first:
        return f"the {adjective[0]} {subject[0]} {verb[0]} the {thing[0]}"
    return f"the {subject[0]} {verb[0]} the {adjective[0]} {thing[0]}"


def _talu(subject: Entry, verb: Entry, thing: Entry, adjective: Entry, first: bool) -> str:
    if first:
        return f"{subject[1]} {adjective[1]} {verb[1]} {thing[1]}"
    return f"{subject[1]} {verb[1]} {thing[1]} {adjective[1]}"


def _brim(subject: Entry, verb: Entry, thing: Entry, adjective: Entry, first: bool) -> str:
    if first:
        return f"{adjective[2]} {subject[2]} {thing[2]} {verb[2]}"
    return f"{subject[2]} {adjective[2]} {thing[2]} {verb[2]}"


def sentences(split: str) -> Iterator[dict[str, Any]]:
    """One sentence in the three languages."""
    return stream("sentences", _sentence, split, same=("english",))


def language_of(split: str) -> Iterator[dict[str, Any]]:
    """A sentence in one of the languages."""
    for record in stream("sentences", _sentence, split, same=("english",)):
        yield {**record, "sentence": record[record["language"].lower()]}
