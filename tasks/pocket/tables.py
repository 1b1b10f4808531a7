"""Tables of a few named values: say them as a sentence, or look one up.

    "name: Rex; kind: dog; colour: brown; home: barn"
        as a sentence  ->  "Rex is a brown dog from the barn."
        the colour     ->  "brown"

The order of the columns varies; a sentence has more than one right wording.
"""

from collections.abc import Iterator
from typing import Any

from pocket_draws import Draws, stream

NAMES = ("Rex", "Bim", "Lulu", "Koko", "Fifi", "Tilo", "Nanu", "Zaz")
KINDS = ("dog", "cat", "goat", "parrot", "horse", "duck", "hen", "fox")
COLOURS = ("brown", "black", "white", "grey", "red", "yellow")
HOMES = ("barn", "garden", "forest", "kitchen", "field", "office")
PEOPLE = ("Mia", "Ana", "Rosa", "Eva", "Tom", "Ben", "Leo", "Sam")
CITIES = ("Velim", "Osk", "Tarn", "Luxo", "Pinda", "Berg")
VEHICLES = ("train", "bus", "boat", "bike")
DAYS = ("Monday", "Friday", "Sunday", "Tuesday")


def table(row: dict[str, str]) -> str:
    """A row as text: `name: Rex; kind: dog`."""
    return "; ".join(f"{key}: {value}" for key, value in row.items())


def _pet(draws: Draws, number: int) -> dict[str, Any]:
    row = {
        "name": draws.pick(NAMES),
        "kind": draws.pick(KINDS),
        "colour": draws.pick(COLOURS),
        "home": draws.pick(HOMES),
    }
    order = draws.several(tuple(row), len(row))
    row = {key: row[key] for key in order}
    asked = ("kind", "colour", "home", "name")[number % 4]
    return {"table": table(row), "row": row, "asked": asked, "value": row[asked]}


def pet_sentence(split: str) -> Iterator[dict[str, Any]]:
    """A pet's table and two sentences that say it."""
    for record in stream("pets", _pet, split, same=("table",)):
        name, kind, colour, home = (record["row"][k] for k in ("name", "kind", "colour", "home"))
        yield {
            **record,
            "sentences": [
                f"{name} is a {colour} {kind} from the {home}.",
                f"{name} is a {colour} {kind} and lives in the {home}.",
            ],
        }


def pet_value(split: str) -> Iterator[dict[str, Any]]:
    """A pet's table and one value to look up."""
    return stream("pets", _pet, split, same=("table",))


def _trip(draws: Draws, number: int) -> dict[str, Any]:
    row = {
        "who": draws.pick(PEOPLE),
        "to": draws.pick(CITIES),
        "by": draws.pick(VEHICLES),
        "day": draws.pick(DAYS),
    }
    order = draws.several(tuple(row), len(row))
    sentence = "{who} goes to {to} by {by} on {day}.".format(**row)
    other = "On {day} {who} goes by {by} to {to}.".format(**row)
    return {"table": table({key: row[key] for key in order}), "sentences": [sentence, other]}


def trip_sentence(split: str) -> Iterator[dict[str, Any]]:
    """A trip's table and two sentences that say it."""
    return stream("trips", _trip, split, same=("table",))
