"""The page of all templates: made anew it is the committed one, and it needs nothing else."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from scripts import make_templates_page
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def page() -> str:
    return make_templates_page.page()


def test_the_committed_page_is_up_to_date(page: str):
    committed = make_templates_page.PAGE.read_text(encoding="utf-8")
    # No diff of half a megabyte: the way out is one command.
    assert (committed == page) is True, "run: python scripts/make_templates_page.py"


def test_it_shows_every_template_and_its_links_lead_somewhere(page: str):
    catalogue = Catalogue([tasks_root()])
    names = [*catalogue.expand("flan2021/*"), *catalogue.expand("pocket/*")]
    places = set(re.findall(r' id="([^"]+)"', page))
    for name in names:
        assert {f"{name}-{i}" for i in range(len(catalogue.task(name).templates))} <= places
    assert page.count('<div class="template">') == sum(
        len(catalogue.task(name).templates) for name in names
    )
    assert set(re.findall(r'href="#([^"]+)"', page)) <= places


def test_it_is_whole_by_itself(page: str):
    opened: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag not in ("script", "img", "iframe", "object")
            assert all(value.startswith("#") for name, value in attributes if name == "href")
            assert "src" not in dict(attributes)
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Tags().feed(page.partition("\n")[2])
    assert not opened
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert not any(mark in page for mark in (make_templates_page.OPEN, make_templates_page.CLOSE))


def test_making_it_needs_neither_tensorflow_nor_jax():
    heavy = "{'tensorflow', 'tensorflow_datasets', 'seqio', 'jax'}"
    code = (
        "import sys; from scripts import make_templates_page as maker; maker.page(); "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_records_own_markup_is_text(page: str):
    assert make_templates_page.html("a < b & \ue000text\ue001<b>\ue002") == (
        'a &lt; b &amp; <mark class="text" title="text">&lt;b&gt;</mark>'
    )
