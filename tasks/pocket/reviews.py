"""Reviews of things, food and films: is it praise, what is it about, what kind of thing is it?

    "I bought it in May. The chair is not great."  ->  negative | chair | furniture

One stream of shop reviews serves three tasks, so that only the instruction says which answer is
wanted. Opinions are decided by a list of words, and by whether they are negated.
"""

from collections.abc import Iterator
from typing import Any

from pocket_draws import Draws, stream

KINDS = {
    "furniture": ("chair", "table", "bed", "shelf"),
    "clothing": ("coat", "hat", "shirt", "scarf"),
    "tool": ("hammer", "saw", "drill", "spade"),
    "toy": ("kite", "doll", "ball", "puzzle"),
}
THINGS = {thing: kind for kind, things in KINDS.items() for thing in things}
FOODS = ("soup", "bread", "salad", "cake", "pie", "rice", "cheese", "stew")
WORKS = ("film", "book", "song", "play", "poem", "show")

GOOD = ("great", "lovely", "excellent", "nice", "wonderful", "perfect")
BAD = ("awful", "terrible", "poor", "horrible", "weak", "nasty")
LIKE = ("like", "love")
DISLIKE = ("dislike", "hate")
FRAMES = ("The {thing} is {word}.", "This {thing} is {word}.", "What a {word} {thing}!")
NEGATED_FRAMES = ("The {thing} is not {word}.", "This {thing} is not {word}.")
MONTHS = ("May", "June", "March", "April")
DAYS = ("Monday", "Friday", "Sunday", "Tuesday")


def opinion(draws: Draws, thing: str, praise: bool) -> str:
    """A sentence that praises or blames a thing."""
    negated = draws.below(8) == 0
    good = praise != negated
    if draws.below(3) == 0:
        frame = "I do not {word} this {thing}." if negated else "I {word} this {thing}."
        return frame.format(word=draws.pick(LIKE if good else DISLIKE), thing=thing)
    frame = draws.pick(NEGATED_FRAMES if negated else FRAMES)
    return frame.format(word=draws.pick(GOOD if good else BAD), thing=thing)


def review(draws: Draws, thing: str, praise: bool, asides: tuple[str, ...]) -> str:
    """An opinion with a neutral sentence before or after it, or without."""
    sentence = opinion(draws, thing, praise)
    aside = draws.pick(asides).format(month=draws.pick(MONTHS), day=draws.pick(DAYS))
    return draws.pick((f"{aside} {sentence}", f"{sentence} {aside}", sentence))


def _shop(draws: Draws, number: int) -> dict[str, Any]:
    praise = number % 2 == 0
    thing = tuple(THINGS)[number // 2 % len(THINGS)]
    asides = ("I bought it in {month}.", "It came on {day}.", "My sister has it too.")
    text = review(draws, thing, praise, asides)
    others = draws.several([other for other in THINGS if other != thing], 2)
    options = draws.several([thing, *others], 3)
    return {"text": text, "praise": praise, "thing": thing, "options": options}


def shop(split: str) -> Iterator[dict[str, Any]]:
    """Reviews of things from a shop."""
    return stream("shop reviews", _shop, split, same=("text",), train=3000)


def shop_things(split: str) -> Iterator[dict[str, Any]]:
    """The same reviews, fewer of them for training, and what they are about."""
    for record in stream("shop reviews", _shop, split, same=("text",), train=1200):
        yield {**record, "kind": THINGS[record["thing"]]}


def _food(draws: Draws, number: int) -> dict[str, Any]:
    asides = ("I ate it in {month}.", "We had it on {day}.", "My brother had it too.")
    praise = number % 2 == 0
    return {"text": review(draws, draws.pick(FOODS), praise, asides), "praise": praise}


def food(split: str) -> Iterator[dict[str, Any]]:
    """Reviews of dishes."""
    return stream("food reviews", _food, split, same=("text",), train=3000)


def _works(draws: Draws, number: int) -> dict[str, Any]:
    asides = ("I found it in {month}.", "I saw it on {day}.", "My teacher knows it too.")
    praise = number % 2 == 0
    return {"text": review(draws, draws.pick(WORKS), praise, asides), "praise": praise}


def works(split: str) -> Iterator[dict[str, Any]]:
    """Reviews of films, books and songs."""
    return stream("film reviews", _works, split, same=("text",), train=1000)
