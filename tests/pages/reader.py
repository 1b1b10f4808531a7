"""Reads a page as a browser would, and holds that it is well formed and needs nothing else."""

import re
from html.parser import HTMLParser

VOID = frozenset({"meta", "path", "wbr"})
FETCHING = frozenset({"script", "link", "img", "iframe", "object", "embed"})


class Page(HTMLParser):
    """A page's tags, texts, ids and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self._parent: list[str] = []  # the classes of the tag before
        self._broken = False  # the last tag was a place where a word may break
        self.feed(html)
        self.close()
        assert not self._open
        assert html.startswith("<!doctype html>\n<html")
        assert 'name="viewport"' in html
        style = html[html.index("<style>") : html.index("</style>")]
        assert not re.search(r"url\(|@import|https?:", style)

    @property
    def text(self) -> str:
        """All that is shown, with a space between pieces."""
        return " ".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in FETCHING
        self._broken = tag == "wbr"
        if self._broken:
            return
        values = dict(attrs)
        assert not {"src", "srcset", "data"} & set(values)
        assert not any(name.startswith("on") for name in values)
        classes = (values.get("class") or "").split()
        if tag == "table":  # so that a wide one scrolls by itself, and the page never does
            assert "wide" in self._parent
        self._parent = classes
        self.tags.append(tag)
        if (anchor := values.get("id")) is not None:
            self.ids.append(anchor)
        if (link := values.get("href")) is not None:
            assert link.startswith("#")
            self.links.append(link[1:])
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"] or not data.strip():
            return
        if self._broken:
            self.texts[-1] += data.strip()
        else:
            self.texts.append(data.strip())
        self._broken = False
