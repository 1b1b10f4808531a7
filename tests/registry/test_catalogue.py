"""Names come from file names; a broken card harms nobody else; a second name is an error."""

from pathlib import Path

import pytest

from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue, default_catalogue
from tests.registry.cards import write_card


def small(root: Path) -> Catalogue:
    for place in ("mine/nli/one", "mine/nli/two", "mine/qa/three", "yours/qa/four"):
        write_card(root, place)
    (root / "mine" / "mixtures.yaml").write_text(
        "both: {tasks: [mine], without: [mine/qa]}\nall: {tasks: [both, yours, three]}\n"
    )
    return Catalogue([root])


def test_patterns(tmp_path: Path):
    catalogue = small(tmp_path)
    assert catalogue.names() == ["four", "one", "three", "two"]
    assert catalogue.expand("mine/nli") == ["one", "two"]
    assert catalogue.expand("yours") == ["four"]
    assert catalogue.expand("*/qa") == ["four", "three"]
    assert catalogue.expand("t*") == ["three", "two"]
    assert catalogue.expand("both") == ["one", "two"]
    assert catalogue.expand("all") == ["four", "one", "three", "two"]
    assert catalogue.mixture_names() == ["all", "both"]


def test_an_unknown_name_gets_the_nearest(tmp_path: Path):
    catalogue = small(tmp_path)
    with pytest.raises(UserError, match="did you mean 'three'"):
        catalogue.task("tree")
    with pytest.raises(UserError, match="did you mean 'both'"):
        catalogue.mixture("bott")
    with pytest.raises(UserError, match="did you mean 'mine/nli'"):
        catalogue.expand("mine/nly")


def test_a_broken_card_takes_nobody_down(tmp_path: Path):
    small(tmp_path)
    write_card(tmp_path, "mine/nli/broken", "name: [")
    catalogue = Catalogue([tmp_path])
    assert "broken" in catalogue.names()
    assert catalogue.task("one").name == "one"
    with pytest.raises(UserError, match="not YAML"):
        catalogue.task("broken")


def test_a_second_registration_is_an_error(tmp_path: Path):
    small(tmp_path)
    write_card(tmp_path, "yours/nli/one")
    with pytest.raises(UserError, match="'one' is declared twice"):
        Catalogue([tmp_path]).names()


def test_thousands_of_tasks_are_listed_without_reading_a_card(tmp_path: Path):
    for number in range(2000):
        path = tmp_path / "many" / f"c{number % 50}" / f"task{number}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not a card")
    assert len(Catalogue([tmp_path]).names()) == 2000


def test_the_first_root_with_a_collection_has_it(tmp_path: Path):
    write_card(tmp_path / "a", "mine/nli/one")
    write_card(tmp_path / "b", "mine/nli/two")
    write_card(tmp_path / "b", "yours/nli/three")
    assert Catalogue([tmp_path / "a", tmp_path / "b"]).names() == ["one", "three"]


def test_the_environment_names_more_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small(tmp_path)
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path))
    assert default_catalogue().task("four").collection == "yours"
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        default_catalogue()
