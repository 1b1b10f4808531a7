"""Newsroom's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line, tidy_lines, unescape


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Title and summary come from a page's metadata, with its HTML entities; a title may lack.

    Nothing where the page had no text or no summary.
    """
    text, summary = tidy_lines(raw["text"]), unescape(raw["summary"])
    if not text or not summary:
        return None
    return {"title": one_line(unescape(raw["title"])), "text": text, "answer": summary}
