"""The Winograd Schema Challenge of SuperGLUE as the card wants it: two spans of a text."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize

_AROUND = ".,;:!?'\"()"


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """Ordinary spacing; the text once more with asterisks around the pronoun.

    A name keeps the capital that it has in the text, not the one of the dataset's own spelling.
    """
    words = raw["text"].split()
    name, pronoun = raw["span1_text"].strip(), raw["span2_text"].strip()
    start = find(words, name, raw["span1_index"])
    if start is not None:
        name = " ".join(words[start : start + len(name.split())]).strip(_AROUND)
    return {
        "text": detokenize(raw["text"]),
        "marked": marked(words, pronoun, raw["span2_index"]),
        "name": detokenize(name),
        "pronoun": detokenize(pronoun),
        "answer": raw["label"],
    }


def find(words: list[str], span: str, near: int) -> int | None:
    """Where a span's words begin, at the place nearest to `near`: some of the indices are off."""
    wanted = span.lower().split()
    bare = [word.lower().strip(_AROUND) for word in words]
    starts = range(len(words) - len(wanted) + 1)
    found = [
        start
        for start in starts
        if [word.strip(_AROUND) for word in wanted] == bare[start : start + len(wanted)]
    ]
    return min(found, key=lambda start: abs(start - near), default=None)


def marked(words: list[str], span: str, near: int) -> str:
    """The text with asterisks around a span; nothing where the text does not have it."""
    start = find(words, span, near)
    if start is None:
        return ""
    stop = start + len(span.split())
    part = " ".join(words[start:stop])
    bare = part.strip(_AROUND)
    part = part.replace(bare, f"*{bare}*", 1)
    return detokenize(" ".join([*words[:start], part, *words[stop:]]))
