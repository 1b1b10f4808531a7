"""Facts of an invented world: what its countries have, asked in many wordings.

    "What is the capital of Zoran?"  ->  Velim
    "Velim is the capital of which country?"  ->  Zoran

There are 8 countries with 4 facts each. Every fact is taught by training records; test records
ask for it in a wording that the training records never use for that fact.
"""

from collections.abc import Iterator
from typing import Any

from pocket_draws import Draws, stream

COUNTRIES = ("Zoran", "Belta", "Kuvia", "Morin", "Tasko", "Lumba", "Pelia", "Drosk")
FACTS = {
    "capital": ("Velim", "Osk", "Tarn", "Luxo", "Pinda", "Berg", "Salto", "Quim"),
    "animal": ("wolf", "bear", "owl", "fox", "goat", "seal", "crab", "horse"),
    "food": ("rice", "soup", "cheese", "bread", "stew", "fish", "pie", "salad"),
    "colour": ("red", "blue", "green", "white", "black", "yellow", "brown", "pink"),
}
NAMES = {
    "capital": ("capital", "main city", "first city"),
    "animal": ("animal", "national animal", "main animal"),
    "food": ("food", "national food", "main food"),
    "colour": ("colour", "flag colour", "national colour"),
}
ASKED = {"capital": "city", "animal": "animal", "food": "food", "colour": "colour"}
QUESTIONS = (
    "What is the {name} of {country}?",
    "What {name} does {country} have?",
    "Which {name} has {country}?",
    "{country} has which {name}?",
    "{country}: what is its {name}?",
    "In {country}, what is the {name}?",
    "Which is the {name} of {country}?",
    "Think of {country}. What is the {name}?",
)
BACK_QUESTIONS = (
    "{value} is the {name} of which country?",
    "Which country has {value} as its {name}?",
    "The {name} is {value}. Which country is it?",
    "{value}: which country has this {name}?",
    "Where is {value} the {name}?",
    "In which country is the {name} {value}?",
    "Think of {value}. Of which country is it the {name}?",
    "Of which country is {value} the {name}?",
)
ENDS = ("", " Please say.", " Do you know?", " Be brief.")


def _fact(draws: Draws, number: int) -> dict[str, Any]:
    relation = tuple(FACTS)[number % len(FACTS)]
    number = draws.below(len(COUNTRIES))
    return {
        "relation": relation,
        "country": COUNTRIES[number],
        "value": FACTS[relation][number],
        "name": draws.pick(NAMES[relation]),
    }


def _question(draws: Draws, number: int) -> dict[str, Any]:
    fact = _fact(draws, number)
    question = draws.pick(QUESTIONS).format(**fact) + draws.pick(ENDS)
    others = draws.several([v for v in FACTS[fact["relation"]] if v != fact["value"]], 2)
    options = draws.several([fact["value"], *others], 3)
    return {
        "question": question,
        "answer": fact["value"],
        "options": options,
        "asks_for": ASKED[fact["relation"]],
    }


def question(split: str) -> Iterator[dict[str, Any]]:
    """What does a country have?"""
    return stream("facts", _question, split, same=("question",), train=1200)


def _back_question(draws: Draws, number: int) -> dict[str, Any]:
    fact = _fact(draws, number)
    question = draws.pick(BACK_QUESTIONS).format(**fact) + draws.pick(ENDS)
    others = draws.several([c for c in COUNTRIES if c != fact["country"]], 2)
    options = draws.several([fact["country"], *others], 3)
    return {"question": question, "country": fact["country"], "options": options}


def back_question(split: str) -> Iterator[dict[str, Any]]:
    """Which country has it?"""
    return stream("back", _back_question, split, same=("question",), train=2400)
