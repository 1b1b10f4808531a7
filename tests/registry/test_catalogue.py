"""Names come from file names; a broken card harms nobody else; a second name is an error."""

from pathlib import Path

import pytest

from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue, default_catalogue
from flanmix.registry.collections import COLLECTIONS, YamlCollection, register_collection
from flanmix.registry.mixture import resolve
from flanmix.registry.user_code import load_function
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


ADAPTER = """
import functools
from dataclasses import replace
from flanmix.errors import UserError
from flanmix.registry.card import load_card
from flanmix.registry.collections import Entry

LOADED = []

def entries(folder):
    model = folder.parent / "mine" / "nli" / "one.yaml"
    for number in range(2000):
        cluster = f"c{number % 50}"
        load = functools.partial(make, model, folder, cluster, number)
        yield Entry(f"made{number:04}", folder.name, cluster, load)

def make(model, folder, cluster, number):
    LOADED.append(number)
    if number == 13:
        raise UserError("file 13 is broken")
    if number == 14:
        return {}["name"]
    name = "other" if number == 15 else f"made{number:04}"
    return replace(load_card(model), name=name, collection=folder.name, cluster=cluster)
"""


def adapted(root: Path, text: str = ADAPTER) -> Catalogue:
    small(root)
    (root / "many").mkdir()
    (root / "many" / "collection.py").write_text(text)
    (root / "many" / "mixtures.yaml").write_text("half: {tasks: [many], without: [many/c1]}\n")
    return Catalogue([root])


def test_an_adapter_lists_thousands_of_tasks_and_makes_those_that_are_asked_for(tmp_path: Path):
    catalogue = adapted(tmp_path)
    adapter = load_function(tmp_path / "many", "collection.py:entries", "test").__globals__
    assert len(catalogue.names()) == 2004
    assert catalogue.expand("many/c7")[:2] == ["made0007", "made0057"]
    assert len(catalogue.expand("half")) == 1960
    assert adapter["LOADED"] == []
    assert catalogue.task("made0012").cluster == "c12"
    assert catalogue.task("made0012") is catalogue.task("made0012")
    assert adapter["LOADED"] == [12]


def test_a_broken_task_of_an_adapter_harms_no_other(tmp_path: Path):
    catalogue = adapted(tmp_path)
    for name, message in {
        "made0013": "file 13 is broken",
        "made0014": "'made0014' .*can't be made: KeyError",
        "made0015": "makes task 'many/c15/other'",
    }.items():
        with pytest.raises(UserError, match=message):
            catalogue.task(name)
    assert catalogue.task("made0016").name == "made0016"
    mixture = resolve(catalogue.mixture("many/c1"), catalogue, lambda task: 1)
    assert len(mixture.tasks) == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError(7)", "fails to load"),
        ("def entries(folder):\n    yield 7\n", "yields a int, not an Entry"),
        ("def entries(folder):\n    return None\n", "NoneType"),
        (ADAPTER.replace("folder.name, cluster, load", "'mine', cluster, load"), "is many"),
    ],
)
def test_an_adapter_that_fails_is_one_broken_entry(tmp_path: Path, text: str, message: str):
    catalogue = adapted(tmp_path, text)
    assert catalogue.names() == ["four", "many/collection.py", "one", "three", "two"]
    assert catalogue.expand("many") == ["many/collection.py"]
    with pytest.raises(UserError, match=message):
        catalogue.task("many/collection.py")


def test_collections_are_registered_from_outside_and_the_roots_come_first(tmp_path: Path):
    small(tmp_path / "roots")
    write_card(tmp_path / "elsewhere", "theirs/qa/five")
    write_card(tmp_path / "elsewhere", "mine/qa/six")
    outside = [YamlCollection(tmp_path / "elsewhere" / name) for name in ("theirs", "mine")]
    catalogue = Catalogue([tmp_path / "roots"], outside)
    assert catalogue.names() == ["five", "four", "one", "three", "two"]
    assert catalogue.expand("theirs") == ["five"]


def test_a_registered_collection_is_in_the_default_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_card(tmp_path, "theirs/qa/five")
    monkeypatch.setattr(COLLECTIONS, "_things", dict(COLLECTIONS))
    register_collection(YamlCollection(tmp_path / "theirs"))
    assert default_catalogue().task("five").collection == "theirs"
    with pytest.raises(UserError, match="registered already"):
        register_collection(YamlCollection(tmp_path / "theirs"))


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
