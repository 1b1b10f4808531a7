"""WikiLingua's English records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import one_line, tidy_lines


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """A guide and its summary; where the split has references, each counts."""
    references = raw["references"] or [raw["target"]]
    summaries = [text for reference in references if (text := one_line(reference))]
    guide = tidy_lines(raw["source"])
    return {"guide": guide, "answer": summaries} if guide and summaries else None
