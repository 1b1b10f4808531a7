"""The records of Rotten Tomatoes as the card wants them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import unescape

_MOST = 10  # as in the paper
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The first ten reviews under numbers, and the first alone, without the page's HTML.

    Nothing where title, consensus or all reviews are missing.
    """
    reviews = [text for value in raw["_critics"]["value"] if (text := _plain(value))][:_MOST]
    movie, consensus = _plain(raw["_movie_name"]), _plain(raw["_critic_consensus"])
    if not movie or not consensus or not reviews:
        return None
    numbered = (f"{number}. {text}" for number, text in enumerate(reviews, start=1))
    return {
        "movie": movie,
        "reviews": "\n".join(numbered),
        "first_review": reviews[0],
        "answer": consensus,
    }


def _plain(text: str) -> str:
    return unescape(_TAG.sub("", text))
