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
    ("child", "nino", "klet"),
    ("fish", "gulu", "plask"),
    ("wolf", "awu", "hark"),
)
VERBS = (
    ("sees", "vela", "valk"),
    ("hears", "oria", "torv"),
    ("likes", "amara", "lusk"),
    ("finds", "tova", "brink"),
    ("feeds", "dapa", "fost"),
)
ADJECTIVES = (
    ("red", "runi", "thod"),
    ("big", "molo", "skarr"),
    ("old", "yeni", "gamm"),
    ("small", "titi", "pleck"),
)
LANGUAGES = ("English", "Talu", "Brim")


def _sentence(draws: Draws, number: int) -> dict[str, Any]:
    subject, thing = draws.several(NOUNS, 2)
    verb, adjective = draws.pick(VERBS), draws.pick(ADJECTIVES)
    described = draws.pick((subject, thing, None))

    def english(noun: tuple[str, ...]) -> str:
        return f"the {adjective[0]} {noun[0]}" if noun is described else f"the {noun[0]}"

    def talu(noun: tuple[str, ...]) -> str:
        return f"{noun[1]} {adjective[1]}" if noun is described else noun[1]

    def brim(noun: tuple[str, ...]) -> str:
        return f"{adjective[2]} {noun[2]}" if noun is described else noun[2]

    return {
        "english": f"{english(subject)} {verb[0]} {english(thing)}",
        "talu": f"{talu(subject)} {verb[1]} {talu(thing)}",
        "brim": f"{brim(subject)} {brim(thing)} {verb[2]}",
        "language": LANGUAGES[number % 3],
    }


def sentences(split: str) -> Iterator[dict[str, Any]]:
    """One sentence in the three languages."""
    return stream("sentences", _sentence, split, same=("english",), train=1400)


def language_of(split: str) -> Iterator[dict[str, Any]]:
    """The same sentence in one of the languages."""
    for record in sentences(split):
        yield {**record, "sentence": record[record["language"].lower()]}
