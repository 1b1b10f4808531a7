"""Small numbers in little stories: how many together, which is more.

    "Mia has 3 pears and Tom has 5 pears."   together  ->  8
                                             larger    ->  5

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
    small, large = sorted(draws.several(range(2, 8), 2))
    a, b = (large, small) if number % 2 == 0 else (small, large)
    thing, verb = draws.pick(THINGS), draws.pick(HAVE)
    story = f"{first} {verb} {a} {thing} and {second} {verb} {b}."
    return {"story": story, "sum": a + b, "larger": str(large), "numbers": [str(a), str(b)]}


def count(split: str) -> Iterator[dict[str, Any]]:
    """Two people's numbers: their sum, and the larger one."""
    return stream("count", _count, split, same=("story",), train=1500)


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
