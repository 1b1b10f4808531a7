"""Members of a mixture that overlap agree or are refused, in any order; numbers that can't be."""

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import Mixture, MixtureSpec, resolve
from tests.registry.cards import write_card

COUNTS = {"one": 10_000, "two": 1_000, "three": 77}
CHANGE = """
from dataclasses import replace

def last_wording(mixture, argument):
    return replace(mixture, tasks=tuple(
        replace(t, spec=replace(t.spec, templates=t.spec.templates[-1:]), templates=(0,))
        for t in mixture.tasks))

def weighted(mixture, argument):
    weight = float(argument)
    return replace(mixture, tasks=tuple(replace(t, loss_weight=weight) for t in mixture.tasks))

def shown(mixture, argument):
    return replace(mixture, tasks=tuple(replace(t, few_shot=2) for t in mixture.tasks))
"""
MIXTURES = """
plain: {tasks: [one, two], temperature: 3.0}
first: {tasks: [mine], templates: [0], rate: equal}
third: {tasks: [one, three], templates: [2]}
shots: {tasks: [one], few_shot: 2, few_shot_share: 0.5}
more_shots: {tasks: [one], few_shot: 2, few_shot_share: 0.75}
light: {tasks: [one, two], loss_weights: {one: 0.5}}
rewritten: {tasks: [one], transform: change.py:last_wording}
weighted: {tasks: [one], transform: change.py:weighted}
shown: {tasks: [one], transform: change.py:shown}
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    root: Path = tmp_path_factory.mktemp("tasks")
    for name in COUNTS:
        write_card(root, f"mine/nli/{name}")
    (root / "mine" / "mixtures.yaml").write_text(MIXTURES)
    (root / "mine" / "change.py").write_text(CHANGE)
    return Catalogue([root])


def resolved(catalogue: Catalogue, *members: str, **keys: object) -> Mixture:
    mixture = MixtureSpec("m", members, **keys)  # pyrefly: ignore
    return resolve(mixture, catalogue, lambda spec: COUNTS[spec.name])


def refused(catalogue: Catalogue, *members: str, **keys: object) -> str:
    with pytest.raises(UserError) as caught:
        resolved(catalogue, *members, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


MEMBERS = ["one", "mine", "two", "plain", "first", "third", "shots", "light", "rewritten"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(MEMBERS), min_size=2, max_size=4, unique=True),
    st.dictionaries(st.sampled_from(MEMBERS), st.floats(0.001, 1e9), max_size=3),
    st.sampled_from([0.3, 1.0, 7.7]),
)
def test_the_order_of_members_changes_nothing(catalogue, members, rates, temperature):
    rates = {name: rate for name, rate in rates.items() if name in members and name != "mine"}
    found = set()
    for order in permutations(members):
        try:
            mixture = resolved(catalogue, *order, rates=rates, temperature=temperature)
            found.add(repr(mixture.tasks))
        except UserError as error:
            found.add(str(error))
    assert len(found) == 1


def test_rates_add_up_and_templates_unite(catalogue: Catalogue):
    mixture = resolved(catalogue, "first", "third")
    assert {t.spec.name: (t.rate, t.templates) for t in mixture.tasks} == {
        "one": (3001.0, (0, 2)),
        "two": (1.0, (0,)),
        "three": (78.0, (0, 2)),
    }


@pytest.mark.parametrize(
    ("members", "setting"),
    [
        (("shots", "plain"), "few_shot is 2 and 0|few_shot is 0 and 2"),
        (("shots", "more_shots"), "few_shot_share is 0.75 and 0.5"),
        (("light", "plain"), "loss_weight is 0.5 and 1.0"),
        (("weighted:2", "weighted:3"), "loss_weight is 2.0 and 3.0"),
        (("one", "rewritten"), "a transform gives it other templates in one of them"),
    ],
)
def test_members_that_disagree_are_named(catalogue: Catalogue, members, setting):
    messages = {refused(catalogue, *order) for order in permutations(members)}
    (message,) = messages
    assert message.startswith("mixture 'm': task 'one' comes by ")
    assert all(f"'{member}'" in message for member in members)
    assert any(part in message for part in setting.split("|"))


def test_what_the_mixture_says_itself_settles_it(catalogue: Catalogue):
    mixture = resolved(catalogue, "shots", "plain", few_shot=1, few_shot_share=0.25)
    assert {(t.few_shot, t.few_shot_share) for t in mixture.tasks} == {(1, 0.25)}
    mixture = resolved(catalogue, "light", "plain", loss_weights={"one": 3.0})
    assert {t.spec.name: t.loss_weight for t in mixture.tasks} == {"one": 3.0, "two": 1.0}


@pytest.mark.parametrize(
    ("members", "keys", "message"),
    [
        (("mine",), {"temperature": 0.001}, "temperature 0.001 makes the rate of 'one' 3000 "),
        (("mine",), {"temperature": 5e-324}, "more than a number can hold: raise it"),
        (("plain",), {"rates": {"one": 5}}, "'one', which comes by the member mixture 'plain'"),
        (("mine",), {"rates": {"mine": 5}}, "which stands for tasks: give each of them its rate"),
        (("mine",), {"rates": {"one": 5}, "without": ("one",)}, "'one', which 'without' takes out"),
        (("one", "plain"), {"rates": {"plain": 5}, "without": ("one", "two")}, "is empty"),
        (("three", "plain"), {"rates": {"plain": 5}, "without": ("one", "two")}, "leaves no task"),
        (("mine",), {"rates": {"on": 5}}, "'on', no member of it; did you mean 'one'"),
        (("mine",), {"loss_weights": {"on": 5}}, "'on', no task of it; did you mean 'one'"),
        (("one", "two"), {"rates": {"one": 1.7e308, "two": 1.7e308}}, "sum of its rates"),
        (("plain",), {"rates": {"plain": 5e-324}}, r"the rate of '\w+' comes to 0.0"),
        (("weighted:nan",), {}, "gives 'one' the loss weight nan"),
        (("shown",), {}, "gives 'one' few_shot 2 in a share of 0.0: both or neither"),
    ],
)
def test_what_can_not_be_is_one_line(catalogue: Catalogue, members, keys, message):
    import re

    assert re.search(message, refused(catalogue, *members, **keys))


def test_rates_at_the_edge_still_mix(catalogue: Catalogue):
    mixture = resolved(catalogue, "mine", temperature=0.05, cap=None)
    assert mixture.total_rate == 10_000.0**20 + 1_000.0**20 + 77.0**20
    huge = resolved(catalogue, "mine", cap=10**300)
    assert [task.rate for task in huge.tasks] == [10_000.0, 77.0, 1_000.0]


NOT_RATES = [0, -1, float("inf"), float("nan"), True, "5", None, 10**400, [1]]


@pytest.mark.parametrize("value", NOT_RATES)
@pytest.mark.parametrize("key", ["rates", "loss_weights"])
def test_no_rate_or_weight_is_anything_but_a_positive_number(key: str, value: object):
    with pytest.raises(ValueError, match=f"{key}: a is .* positive, finite"):
        MixtureSpec("m", ("a",), **{key: {"a": value}})  # pyrefly: ignore


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": True}, "temperature is True"),
        ({"temperature": "1e-3"}, "temperature is '1e-3'"),
        ({"cap": float("nan")}, "cap is nan"),
        ({"cap": True}, "cap is True"),
        ({"cap": "many"}, "cap is 'many'"),
        ({"rates": [1, 2]}, "rates is .*write name: number"),
        ({"tasks": "pocket"}, "tasks is 'pocket': write a list"),
        ({"tasks": (1,)}, "write a list of names"),
        ({"without": "pocket"}, "without is 'pocket': write a list"),
        ({"templates": (0.5,)}, "templates is"),
        ({"templates": "first"}, "templates is first"),
        ({"templates": 0.5}, "templates is 0.5"),
        ({"few_shot": 1.5, "few_shot_share": 0.5}, "few_shot is 1.5"),
        ({"few_shot": True, "few_shot_share": 0.5}, "few_shot is True"),
        ({"few_shot": 1, "few_shot_share": "half"}, "few_shot_share 'half'"),
    ],
)
def test_a_value_of_another_kind_is_named(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MixtureSpec(**{"name": "m", "tasks": ("a",), **values})
