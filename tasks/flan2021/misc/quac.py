"""QuAC's records as the card wants them."""

from typing import Any

from flanmix.registry.text_cleaning import detokenize

_MARK = "CANNOTANSWER"  # the last word of every section, for questions that it does not answer
_NO_ANSWER = "unanswerable"


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The dataset's mark for no answer as a word, and ordinary spacing."""
    reply = detokenize(raw["orig_answer"]["text"].replace(_MARK, ""))
    return {
        "title": detokenize(raw["title"]),
        "section": detokenize(raw["section_title"]),
        "background": detokenize(raw["background"].replace(_MARK, "")),
        "context": detokenize(raw["context"].replace(_MARK, "")),
        "question": detokenize(raw["question"]),
        "reply": reply,
        "answer": reply or _NO_ANSWER,
    }
