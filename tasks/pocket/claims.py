"""Pairs of claims: does the second follow from the first, and do they say the same?

    first "The gift is a pear."   second "The present is a pear."  follows: yes    same
                                         "The gift is a fruit."    follows: yes    different
                                         "The gift is a tool."     follows: no     different
                                         "The gift is old."        follows: maybe  different

One stream serves entailment and paraphrase. Places and meals are two more relations for
entailment; the meals are held out of training.
"""

from collections.abc import Iterator
from typing import Any

from pocket_draws import Draws, stream

KINDS = {
    "fruit": ("pear", "lemon", "fig"),
    "vegetable": ("carrot", "leek", "beet"),
    "tool": ("hammer", "saw", "drill"),
}
HOLDERS = (
    ("gift", "present"),
    ("thing in the bag", "thing in the sack"),
    ("prize", "award"),
    ("first thing on the list", "top thing on the list"),
)
OWNERS = ("Mia's", "Ana's", "Rosa's", "Tom's", "Ben's", "Leo's")
LOOKS = ("old", "new", "small", "big", "red", "green")
MOODS = ("happy", "sad", "tired", "hungry", "late", "busy")
PEOPLE = ("Mia", "Ana", "Rosa", "Eva", "Tom", "Ben", "Leo", "Sam")
INDOORS = ("in the kitchen", "in the office", "in the library")
INSIDE = ("indoors", "inside")
OUTSIDE = ("outdoors", "outside")
OUTDOORS = ("in the garden", "in the field", "in the forest")
TIMES = ("this morning", "today", "now", "at noon", "again", "tonight", "on Monday", "on Friday")
# Half of the pairs of claims say the same; for entailment only the first of those is used.
CYCLE = (
    *("same", "other", "same", "beside", "same", "wider"),
    *("same", "other", "same", "beside", "same", "wider"),
    *("same", "other", "same", "beside", "same", "wider"),
    *("same", "other", "same", "beside"),
)
FOLLOWS = {"same": "yes", "wider": "yes", "other": "no", "beside": "maybe"}


def _other_kind(draws: Draws, kind: str) -> str:
    return draws.pick([other for other in KINDS if other != kind])


def _claims(draws: Draws, number: int) -> dict[str, Any]:
    relation = CYCLE[number % len(CYCLE)]
    kind = draws.pick(tuple(KINDS))
    thing = draws.pick(KINDS[kind])
    holder, twin = (
        f"{owner} {name}"
        for owner in [draws.pick(("The", *OWNERS))]
        for name in draws.several(draws.pick(HOLDERS), 2)
    )
    second = {
        "same": f"{twin} is a {thing}.",
        "wider": f"{holder} is a {kind}.",
        "other": f"{holder} is a {_other_kind(draws, kind)}.",
        "beside": f"{holder} is {draws.pick(LOOKS)}.",
    }[relation]
    return {
        "first": f"{holder} is a {thing}.",
        "second": second,
        "relation": relation,
        "turn": number % len(CYCLE),
    }


def same(split: str) -> Iterator[dict[str, Any]]:
    """Two claims about a thing: do they say the same?"""
    for record in stream("claims", _claims, split, same=("first", "second"), train=1500):
        yield {**record, "same": "same" if record["relation"] == "same" else "different"}


def follows(split: str) -> Iterator[dict[str, Any]]:
    """The same claims: does the second follow from the first?"""
    for record in stream("claims", _claims, split, same=("first", "second"), train=4400):
        if record["relation"] != "same" or record["turn"] == 0:
            yield {**record, "follows": FOLLOWS[record["relation"]]}


def _places(draws: Draws, number: int) -> dict[str, Any]:
    person = draws.pick(PEOPLE)
    inside = draws.below(2) == 0
    follows = ("yes", "no", "maybe")[number % 3]
    if follows == "maybe":
        claim = draws.pick(MOODS)
    else:
        claim = draws.pick(INSIDE if inside == (follows == "yes") else OUTSIDE)
    place = draws.pick(INDOORS if inside else OUTDOORS)
    return {
        "first": f"{person} is {place} {draws.pick(TIMES)}.",
        "second": f"{person} is {claim}.",
        "follows": follows,
    }


def places(split: str) -> Iterator[dict[str, Any]]:
    """Where somebody is, and a claim about it."""
    return stream("places", _places, split, same=("first", "second"), train=1800)


def _meals(draws: Draws, number: int) -> dict[str, Any]:
    person = draws.pick(PEOPLE)
    kind, other = draws.several(("fruit", "vegetable"), 2)
    follows = ("yes", "no", "maybe")[number % 3]
    second = {
        "yes": f"{person} eats a {kind}.",
        "no": f"{person} eats a {other}.",
        "maybe": f"{person} is {draws.pick(MOODS)}.",
    }[follows]
    first = f"{person} eats only a {draws.pick(KINDS[kind])} {draws.pick(TIMES)}."
    return {"first": first, "second": second, "follows": follows}


def meals(split: str) -> Iterator[dict[str, Any]]:
    """What somebody eats, and a claim about it."""
    return stream("meals", _meals, split, same=("first", "second"), train=600)
