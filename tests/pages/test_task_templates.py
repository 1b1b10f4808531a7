"""The page of all templates: each is on it, its links lead somewhere, and records stay text."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.pages.task_templates import (
    CLOSE,
    MIDDLE,
    OPEN,
    Collection,
    Piece,
    page,
    pieces,
    view,
)
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.record import Record
from tests.conftest import ROOT
from tests.pages.reader import Page
from tests.registry.cards import write_card

SCRIPT = ROOT / "scripts" / "make_templates_page.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as the script writes it, in a process that may import no framework."""
    path = tmp_path_factory.mktemp("docs") / "templates.html"
    program = (
        f"import runpy, sys; sys.argv = ['make', {str(path)!r}]\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "assert not {'tensorflow', 'tensorflow_datasets', 'seqio', 'jax'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith(f"{path}: ")
    return path.read_text(encoding="utf-8")


def test_it_shows_every_template_and_its_links_lead_somewhere(made: str) -> None:
    shown = Page(made)
    catalogue = Catalogue([tasks_root()])
    names = [*catalogue.expand("flan2021/*"), *catalogue.expand("pocket/*")]
    counts = {name: len(catalogue.task(name).templates) for name in names}
    assert {f"{name}-{i}" for name in names for i in range(counts[name])} <= set(shown.ids)
    assert made.count('<div class="template">') == sum(counts.values())
    assert len(shown.ids) == len(set(shown.ids))
    assert set(shown.links) <= set(shown.ids)
    assert not any(mark in made for mark in (OPEN, MIDDLE, CLOSE))


TEXT = st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=20)


@given(st.lists(st.tuples(TEXT, st.sampled_from(["", "answer", "options", "premise"]))))
def test_pieces_are_those_that_were_marked(parts: list[tuple[str, str]]) -> None:
    marked = "".join(
        f"{OPEN}{field}{MIDDLE}{text}{CLOSE}" if field else text for text, field in parts
    )
    found = pieces(marked)
    assert "".join(piece.text for piece in found) == "".join(text for text, _ in parts)
    filled = [Piece(text, field) for text, field in parts if field and text]
    assert [piece for piece in found if piece.field] == filled


def test_a_records_own_markup_is_text(tmp_path: Path) -> None:
    write_card(tmp_path, "mine/c/rte")
    catalogue = Catalogue([tmp_path])
    record = Record("r", {"premise": "a <b> & b", "hypothesis": "\n <i>"}, ("yes",), ("yes", "no"))
    collections = [Collection("mine", "<Mine>", "About & so on.")]
    shown = Page(page(catalogue, collections, lambda task: [record]))
    assert {"a <b> & b", "<Mine>", "About & so on."} <= set(shown.texts)
    assert not {"i"} & set(shown.tags)
    ((cluster,),) = [found.clusters for found in view(catalogue, collections, lambda _: [record])]
    filled = {
        piece.field: piece.text
        for template in cluster.tasks[0].templates
        for piece in (*template.inputs, *template.targets)
    }
    assert (filled["answer"], filled["options"]) == ("yes", "no")
    assert filled["premise"] == "a <b> & b"
    assert filled["hypothesis"] == "\n <i>"


def test_a_template_without_a_fitting_record_is_an_error(tmp_path: Path) -> None:
    write_card(tmp_path, "mine/c/rte")
    with pytest.raises(ValueError, match="task 'rte', template 0: no record has its fields"):
        page(Catalogue([tmp_path]), [Collection("mine", "", "")], lambda task: [])
