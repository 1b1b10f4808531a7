"""Small numbers in little stories: how many together, who has more.

    "Mia has 3 pears and Tom has 5 pears."   together  ->  8
                                             more      ->  Tom

The numbers are below 8: what is new in a test record is the story, not the sum.
"""

from collections.abc import Iterator
from typing import Any

from pocket_draws import Draws, stream

PEOPLE = ("Mia", "Ana", "Rosa", "Eva", "Tom", "Ben", "Leo", "Sam")
THINGS = ("pears", "coins", "books", "balls", "hats", "cakes")
HAVE = ("has", "buys", "finds")


def _count(draws: Draws, number: int) -> dict[str, Any]:
    first, second = draws.several(PEOPLE, 2)
    counts = draws.several(range(2, 8), 2)
    small, large = sorted(counts)
    more = number % 2
    a, b = (large, small) if more == 0 else (small, large)
    thing, verb = draws.pick(THINGS), draws.pick(HAVE)
    story = f"{first} {verb} {a} {thing} and {second} {verb} {b}."
    return {"story": story, "sum": a + b, "more": (first, second)[more], "people": [first, second]}


def more(split: str) -> Iterator[dict[str, Any]]:
    """Who of two people has more?"""
    return stream("count", _count, split, same=("story",), train=3000)


def together(split: str) -> Iterator[dict[str, Any]]:
    """How many do they have together?"""
    return stream("count", _count, split, same=("story",), train=1200)


def _change(draws: Draws, number: int) -> dict[str, Any]:
    person, thing = draws.pick(PEOPLE), draws.pick(THINGS)
    start = 2 + draws.below(6)
    lost = 1 + draws.below(start - 1)
    verb = draws.pick(("gives away", "loses", "sells"))
    story = f"{person} has {start} {thing}. {person} {verb} {lost}."
    return {"story": story, "left": start - lost}


def change(split: str) -> Iterator[dict[str, Any]]:
    """How many are left?"""
    return stream("change", _change, split, same=("story",), train=1200)
