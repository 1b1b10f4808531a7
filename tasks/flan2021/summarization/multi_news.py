"""Multi-News' records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line, tidy_lines


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The articles, which are stored as one text with bars between them, under numbers.

    Nothing for the records that have no article or no summary. Some summaries begin with a dash.
    """
    articles = [text for part in raw["document"].split("|||||") if (text := tidy_lines(part))]
    summary = one_line(raw["summary"]).removeprefix("–").strip()
    if not articles or not summary:
        return None
    numbered = (f"Article {number}: {text}" for number, text in enumerate(articles, start=1))
    return {"articles": "\n\n".join(numbered), "first": articles[0], "answer": summary}
