"""Rates are exact, nested or not, and every contradiction is said."""

from pathlib import Path

import pytest

from flanmix.data.canonical import canonicalize
from flanmix.data.render import render
from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import Mixture, MixtureSpec, resolve
from tests.registry.cards import write_card

ROW = {"text": {"premise": "It rained."}, "hypothesis": "The street is wet.", "label": 0}
COUNTS = {"one": 10_000, "two": 1_000, "three": 100}


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    for name in COUNTS:
        write_card(tmp_path, f"mine/nli/{name}")
    (tmp_path / "mine" / "mixtures.yaml").write_text(
        "pair: {tasks: [one, two], rate: explicit, rates: {one: 3, two: 1}}\n"
        "outer: {tasks: [pair, three], rate: equal, rates: {pair: 2}}\n"
        "loop: {tasks: [pool]}\npool: {tasks: [loop]}\n"
        "few: {tasks: [three], templates: [0, 2], few_shot: 2, few_shot_share: 0.5}\n"
        "some: {tasks: [mine], varies: first_tasks}\n"
        "begin: {tasks: [two, pair, three], varies: first_members}\n"
        "worded: {tasks: [mine], templates: 2, varies: templates}\n"
        "bare: {tasks: [mine/nli], wording: plain}\n"
        "named: {tasks: [one], wording: name}\n"
    )
    return Catalogue([tmp_path])


def rates(catalogue: Catalogue, mixture: MixtureSpec) -> dict[str, float]:
    resolved = resolve(mixture, catalogue, lambda spec: COUNTS[spec.name])
    return {task.spec.name: task.rate for task in resolved.tasks}


def test_proportional_rates_are_capped_and_tempered(catalogue: Catalogue):
    capped = rates(catalogue, MixtureSpec("m", ("mine",), cap=3000))
    assert capped == {"one": 3000, "two": 1000, "three": 100}
    tempered = rates(catalogue, MixtureSpec("m", ("mine",), cap=None, temperature=2.0))
    assert tempered == pytest.approx({"one": 100, "two": 1000**0.5, "three": 10})


def test_a_member_mixture_keeps_its_own_rates(catalogue: Catalogue):
    assert rates(catalogue, catalogue.mixture("outer")) == {"one": 1.5, "two": 0.5, "three": 1}


@pytest.mark.parametrize("name", ["one", "mine", "mine/nli", "mine/*"])
def test_whatever_stands_for_tasks_is_their_mixture(catalogue: Catalogue, name: str):
    found = rates(catalogue, catalogue.mixture(name))
    assert found == {key: min(COUNTS[key], 3000) for key in COUNTS if name != "one" or key == name}


def test_what_a_mixture_says_reaches_its_tasks(catalogue: Catalogue):
    resolved: Mixture = resolve(catalogue.mixture("few"), catalogue, lambda spec: 7)
    (task,) = resolved.tasks
    assert (task.templates, task.few_shot, task.few_shot_share) == ((0, 2), 2, 0.5)
    assert resolved.names == ("three",)


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (MixtureSpec("m", ("mine",), rate="explicit", rates={"one": 1}), "rates lacks 'three'"),
        (MixtureSpec("m", ("one",), rates={"two": 1}), "no member"),
        (MixtureSpec("m", ("one",), templates=(7,)), "none of templates"),
        (MixtureSpec("m", ("one",), without=("mine",)), "is empty"),
        (MixtureSpec("m", ("oen",)), "did you mean 'one'"),
        (MixtureSpec("loop", ("pool",)), "holds itself"),
    ],
)
def test_a_mistake_is_said(catalogue: Catalogue, mixture: MixtureSpec, message: str):
    with pytest.raises(UserError, match=message):
        rates(catalogue, mixture)


@pytest.mark.parametrize(
    "values",
    [{"tasks": ()}, {"rate": "random"}, {"cap": 0}, {"temperature": 0}, {"rates": {"a": 0}},
     {"templates": (-1,)}, {"few_shot": 2}, {"few_shot": 1, "few_shot_share": 2.0}],
)  # fmt: skip
def test_values_out_of_range_are_refused(values: dict):
    with pytest.raises(ValueError, match=r"\w"):
        MixtureSpec(**{"name": "m", "tasks": ("a",), **values})


def test_a_number_behind_the_name_is_the_varied_part(catalogue: Catalogue):
    grown = [set(rates(catalogue, catalogue.mixture(f"some:{n}"))) for n in (1, 2, 3, 4)]
    assert [len(names) for names in grown] == [1, 2, 3, 3]
    assert grown[0] < grown[1] < grown[2] == set(COUNTS)
    assert all(catalogue.expand(f"some:{n}") == sorted(grown[n - 1]) for n in (1, 2, 3))
    assert rates(catalogue, catalogue.mixture("some")) == rates(
        catalogue, MixtureSpec("m", ("mine",))
    )
    assert set(rates(catalogue, catalogue.mixture("begin:1"))) == {"two"}
    assert set(rates(catalogue, catalogue.mixture("begin:2"))) == {"one", "two"}
    assert catalogue.expand("begin:2") == ["one", "two"]

    def templates(name: str) -> set[tuple[int, ...]]:
        resolved = resolve(catalogue.mixture(name), catalogue, lambda spec: 1)
        return {task.templates for task in resolved.tasks}

    assert (templates("worded"), templates("worded:1")) == ({(0, 1)}, {(0,)})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pair:2", "takes no number"),
        ("some:0", "'0' is no number from 1 for its first_tasks"),
        ("some:²", "is no number"),
        ("some:", "is no number"),
        ("smoe:1", "did you mean 'some'"),
    ],
)
def test_a_wrong_number_is_said(catalogue: Catalogue, name: str, message: str):
    with pytest.raises(UserError, match=message):
        catalogue.mixture(name)


def test_tasks_without_instructions(catalogue: Catalogue):
    record = canonicalize(catalogue.task("one"), ROW, "train-0")[0]
    said = {}
    for name in ("bare", "named"):
        resolved = resolve(catalogue.mixture(name), catalogue, lambda spec: 1)
        task = next(task for task in resolved.tasks if task.spec.name == "one")
        assert task.templates == (0,)
        assert task.spec.data_fingerprint() == catalogue.task("one").data_fingerprint()
        said[name] = render(task.spec, record, 0)
    assert said["bare"].inputs == "It rained.\nThe street is wet."
    assert said["named"].inputs == "[nli: one]\nIt rained.\nThe street is wet."
    assert {pair.targets for pair in said.values()} == {"yes"}
