"""Yelp's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    r"""Line breaks are stored as `\n` in two characters, quotation marks with a backslash."""
    text = raw["text"].replace("\\n", " ").replace('\\"', '"').replace('""', '"')
    return {"text": one_line(text), "answer": raw["label"]}
