"""Little stories: who was where, whom a pronoun means, which tool is needed, how somebody feels.

    "Mia went to the garden by bus on Monday."       who? where? when?
    "Tom saw Mia, because she was lost."             she is Mia
    "The dogs saw the cat. They were hungry."        they are the dogs
    "Mia wants to cut the bread."                    a knife
    "Mia lost her hat."                              sad

One stream of journeys serves three questions. The people at work are held out of training.
"""

from collections.abc import Iterator
from typing import Any

from pocket_draws import Draws, stream

WOMEN = ("Mia", "Ana", "Rosa", "Eva")
MEN = ("Tom", "Ben", "Leo", "Sam")
PEOPLE = (*WOMEN, *MEN)
PLACES = ("kitchen", "bedroom", "office", "library", "garden", "field", "forest", "barn")
VEHICLES = ("train", "bus", "boat", "bike")
DEEDS = ("sang", "ran", "ate", "slept", "read", "played")
ANIMALS = ("dog", "cat", "cow", "horse", "goat", "duck", "hen", "fox")
TRAITS = ("hungry", "tired", "lost", "happy", "late", "sad", "cold", "busy")
MEETINGS = ("saw", "met", "called", "helped", "found", "thanked")
WORK = ("cooking", "reading", "singing", "painting", "sleeping", "running")
DAYS = ("Monday", "Friday", "Sunday", "Tuesday")
TOOLS = {
    "knife": ("cut the bread", "slice the pie"),
    "key": ("open the door", "lock the gate"),
    "spade": ("dig a hole", "plant a tree"),
    "pen": ("write a letter", "sign a card"),
    "hammer": ("drive a nail", "break a stone"),
    "net": ("catch a fish", "trap a gull"),
    "broom": ("sweep the floor", "clear the dust"),
    "brush": ("paint the wall", "comb the horse"),
    "needle": ("sew a shirt", "mend a coat"),
    "lamp": ("light the room", "see in the dark"),
}
FOODS = ("pear", "fig", "leek")
WISHES = ("wants to", "has to", "must", "would like to")
GLAD = ("won a prize", "got a gift", "met a friend", "found a coin", "ate a good pie", "sang well")
SAD = ("lost a hat", "broke a toy", "missed the bus", "fell in mud", "burnt the cake", "hurt a leg")


def _journey(draws: Draws, number: int) -> dict[str, Any]:
    who, other = draws.several(PEOPLE, 2)
    place, vehicle, day = draws.pick(PLACES), draws.pick(VEHICLES), draws.pick(DAYS)
    story = draws.pick(
        (
            f"{who} went to the {place} by {vehicle} on {day}.",
            f"On {day} {who} took the {vehicle} to the {place}.",
            f"It was {day}. {who} was in the {place} and came back by {vehicle}.",
            f"{who} {draws.pick(DEEDS)} in the {place} on {day}.",
        )
    )
    people = draws.several((who, other), 2)
    return {"story": story, "who": who, "place": place, "day": day, "people": people}


def journey(split: str) -> Iterator[dict[str, Any]]:
    """Who was where, and when? Three spellings of the place are right."""
    for record in stream("journey", _journey, split, same=("story",), train=1000):
        place = record["place"]
        yield {**record, "where": [place, f"the {place}", f"in the {place}"]}


def _meeting(draws: Draws, number: int) -> dict[str, Any]:
    pair = [draws.pick(WOMEN), draws.pick(MEN)]
    pronoun = ("she", "he")[number % 2]
    first, second = draws.several(pair, 2)
    meeting, trait = draws.pick(MEETINGS), draws.pick(TRAITS)
    sentence = draws.pick(
        (
            f"{first} {meeting} {second}, because {pronoun} was {trait}.",
            f"{first} {meeting} {second} when {pronoun} was {trait}.",
            f"{first} {meeting} {second}. Then {pronoun} was {trait}.",
        )
    )
    return {"sentence": sentence, "pronoun": pronoun, "options": [first, second], "pair": pair}


def meeting(split: str) -> Iterator[dict[str, Any]]:
    """Whom does "she" or "he" mean?"""
    for record in stream("meeting", _meeting, split, same=("sentence",), train=1000):
        yield {**record, "meant": record["pair"][("she", "he").index(record["pronoun"])]}


def _work(draws: Draws, number: int) -> dict[str, Any]:
    pair = [draws.pick(WOMEN), draws.pick(MEN)]
    pronoun = ("she", "he")[number % 2]
    first, second = draws.several(pair, 2)
    work, other = draws.several(WORK, 2)
    sentence = draws.pick(
        (
            f"While {first} was {work}, {second} came in, and {pronoun} was {other} too.",
            f"{first} was {work} with {second} until {pronoun} was {draws.pick(TRAITS)}.",
        )
    )
    return {"sentence": sentence, "pronoun": pronoun, "options": [first, second], "pair": pair}


def work(split: str) -> Iterator[dict[str, Any]]:
    """The same question about people at work."""
    for record in stream("work", _work, split, same=("sentence",), train=800):
        yield {**record, "meant": record["pair"][("she", "he").index(record["pronoun"])]}


def _herd(draws: Draws, number: int) -> dict[str, Any]:
    one, many = draws.several(ANIMALS, 2)
    many = {"fox": "foxes"}.get(many, f"{many}s")
    single = number % 2 == 0
    pronoun = "it was" if single else "they were"
    names = [f"the {one}", f"the {many}"]
    first, second = draws.several(names, 2)
    meeting, trait = draws.pick(MEETINGS), draws.pick(TRAITS)
    start = f"{first[0].upper()}{first[1:]} {meeting} {second}"
    sentence = draws.pick(
        (
            f"{start}, because {pronoun} {trait}.",
            f"{start} when {pronoun} {trait}.",
            f"{start}. Then {pronoun} {trait}.",
        )
    )
    return {
        "sentence": sentence,
        "pronoun": pronoun.split()[0],
        "meant": names[0 if single else 1],
        "options": [first, second],
    }


def herd(split: str) -> Iterator[dict[str, Any]]:
    """Does "it" or "they" mean the one animal or the many?"""
    return stream("herd", _herd, split, same=("sentence",), train=1000)


def _need(draws: Draws, number: int) -> dict[str, Any]:
    tool = tuple(TOOLS)[number % len(TOOLS)]
    others = draws.several([other for other in TOOLS if other != tool], 2)
    goal = f"{draws.pick(PEOPLE)} {draws.pick(WISHES)} {draws.pick(TOOLS[tool])}"
    goal = draws.pick((f"On {draws.pick(DAYS)} {goal}.", f"{goal} on {draws.pick(DAYS)}."))
    return {"goal": goal, "tool": tool, "options": draws.several([tool, *others], 3)}


def need(split: str) -> Iterator[dict[str, Any]]:
    """Which tool does somebody need?"""
    return stream("need", _need, split, same=("goal",), train=1000)


def _event(draws: Draws, number: int) -> dict[str, Any]:
    glad = number % 2 == 0
    person, day = draws.pick(PEOPLE), draws.pick(DAYS)
    event = draws.pick(GLAD if glad else SAD)
    event = draws.pick(
        (f"On {day} {person} {event}.", f"{person} {event} on {day}.", f"{person} {event}.")
    )
    asides = (
        f"{person} eats only a {draws.pick(FOODS)}.",
        "It is late.",
        "It is cold.",
        f"{draws.pick(PEOPLE)} was there.",
    )
    aside = draws.pick(asides)
    return {"event": draws.pick((event, f"{aside} {event}", f"{event} {aside}")), "glad": glad}


def feeling(split: str) -> Iterator[dict[str, Any]]:
    """Is somebody glad or sad after what happened?"""
    return stream("event", _event, split, same=("event",), train=1000)
