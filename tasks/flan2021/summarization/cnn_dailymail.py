"""CNN/Daily Mail's records as the card wants them."""

import re
from typing import Any

from flanmix.registry.text_cleaning import one_line

# What stands before the story: "ROME, Italy (CNN) -- ", "LONDON, England -- ", or the Daily Mail's
# "By . Ann Lee . PUBLISHED: . 12:01 EST, 1 May 2013 . | . UPDATED: . 13:20 EST, 1 May 2013 . ".
_AGENCY = re.compile(r"[^()]{0,60}\((?:CNN\)(?: *--)?|[A-Z][\w .]{1,20}\) *--) *")
_PLACE = re.compile(r"(?:[A-Z]{3,}|ST\.)[A-Z. ]*(?:[,.] [A-Z]\w+(?: [A-Z]\w+){0,2})? *-- ")
_STAMP = re.compile(
    r".{0,400}\b\d\d?:\d\d (?:[A-Z]{2,4}, |[AaPp][Mm] on )\d{1,2}\w* \w+ 20\d\d \. (?:\| \. )?"
)
_BYLINE = re.compile(r"By \. .{3,80}? \. (?:and \. .{3,80}? \. )?")
_MAIL = re.compile(r" E-mail to a friend \.")
_STOP = re.compile(r" +\.(?=\s|$)")


def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The story without what stands before it, and its highlights in one line.

    Nothing where either is empty, as some stories on the web are.
    """
    text = one_line(_MAIL.sub("", raw["article"]))
    for lead in (_STAMP, _BYLINE, _AGENCY, _PLACE):
        text = text[found.end() :] if (found := lead.match(text)) else text
    text, highlights = _STOP.sub(".", text), _STOP.sub(".", one_line(raw["highlights"]))
    return {"text": text, "answer": highlights} if text and highlights else None
