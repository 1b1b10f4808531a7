"""Rates are exact, nested or not, and every contradiction is said."""

from pathlib import Path

import pytest

from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import Mixture, MixtureSpec, mixture_keys, resolve
from tests.registry.cards import write_card

CHANGE = """
from dataclasses import replace

def first(mixture, argument):
    return replace(mixture, tasks=mixture.tasks[: int(argument or 9)])

def doubled(mixture, argument):
    return replace(mixture, tasks=tuple(replace(t, rate=2 * t.rate) for t in mixture.tasks))

def number(mixture, argument):
    return 7

def nothing(mixture, argument):
    return mixture.only(lambda task: False)

def twice(mixture, argument):
    return replace(mixture, tasks=mixture.tasks * 2)

def negative(mixture, argument):
    return replace(mixture, tasks=tuple(replace(t, rate=-1.0) for t in mixture.tasks))

def untold(mixture, argument):
    return replace(mixture, tasks=tuple(replace(t, templates=(7,)) for t in mixture.tasks))
"""
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
        "some: {tasks: [mine], transform: change.py:first}\n"
        "both: {tasks: [some, three], rates: {some: 6}, transform: change.py:doubled}\n"
        "self: {tasks: [mine], without: [self], transform: change.py:first}\n"
        "worded: {tasks: [mine], templates: 2}\n"
    )
    (tmp_path / "mine" / "change.py").write_text(CHANGE)
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


def test_a_transform_is_applied_to_the_resolved_mixture(catalogue: Catalogue):
    assert rates(catalogue, catalogue.mixture("some")) == {"one": 3000, "two": 1000, "three": 100}
    assert rates(catalogue, catalogue.mixture("some:2")) == {"one": 3000, "three": 100}
    assert catalogue.expand("some:1") == ["one"]
    assert resolve(catalogue.mixture("some:2"), catalogue, lambda task: 1).name == "some:2"


def test_a_member_mixture_is_transformed_before_it_is_mixed(catalogue: Catalogue):
    share = 2 * 6 / 4100
    assert rates(catalogue, catalogue.mixture("both")) == pytest.approx(
        {"one": 3000 * share, "two": 1000 * share, "three": 100 * share + 2 * 100}
    )
    inner = MixtureSpec("m", ("some:1", "three"), rates={"some:1": 5})
    assert rates(catalogue, inner) == {"one": 5, "three": 100}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("change.py:frist", "has no function 'frist'; did you mean 'first'"),
        ("gone.py:first", "gone.py is missing"),
        ("first", "is no function: write file.py:function"),
        ("change.py:number", "returns a int, not a Mixture"),
        ("change.py:nothing", "leaves no task"),
        ("change.py:twice", "returns a task twice"),
        ("change.py:negative", "gives 'one' the rate -1.0"),
        ("change.py:untold", r"gives 'one' templates \[7\]"),
    ],
)
def test_a_transform_that_fails_is_one_line(catalogue: Catalogue, function: str, message: str):
    folder = catalogue.mixture("some").folder
    mixture = MixtureSpec("m", ("mine",), transform=function, folder=folder)
    with pytest.raises(UserError, match=rf"^mixture 'm'.*{message}") as caught:
        rates(catalogue, mixture)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"mixture 'some:x': change\.py:first fails: ValueError"):
        catalogue.expand("some:x")


def test_the_first_templates_by_a_number(catalogue: Catalogue):
    resolved = resolve(catalogue.mixture("worded"), catalogue, lambda spec: 1)
    assert {task.templates for task in resolved.tasks} == {(0, 1)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pair:2", "':2' is for a transform, and the mixture has no key 'transform'"),
        ("pair:", "has no key 'transform'"),
        ("smoe:1", "did you mean 'some'"),
    ],
)
def test_an_argument_without_a_transform_is_said(catalogue: Catalogue, name: str, message: str):
    with pytest.raises(UserError, match=message):
        catalogue.mixture(name)


def test_a_transformed_mixture_that_holds_itself(catalogue: Catalogue):
    for look in (catalogue.expand, lambda name: rates(catalogue, catalogue.mixture(name))):
        with pytest.raises(UserError, match="holds itself"):
            look("self")


def test_the_keys_of_a_mixture_are_the_fields_of_its_dataclass():
    assert mixture_keys() == [
        *("tasks", "without", "rate", "cap", "temperature", "rates", "templates"),
        *("few_shot", "few_shot_share", "loss_weights", "transform"),
    ]
