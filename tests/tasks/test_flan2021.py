"""The Flan 2021 cards: their wording."""

import itertools
import re
from difflib import SequenceMatcher

import pytest

from flanmix.spec.card import read_yaml
from flanmix.spec.catalogue import Catalogue
from flanmix.spec.places import tasks_root

CATALOGUE = Catalogue([tasks_root()])
NAMES = CATALOGUE.expand("flan2021")


def as_t5_sees_it(text: str) -> str:
    """White space collapsed: T5's vocabulary has no line break. Every field looks the same."""
    return " ".join(re.sub(r"\{\w+\}", "{}", text).split())


def test_the_collection_has_every_cluster_of_the_paper():
    clusters = {CATALOGUE.task(name).cluster for name in NAMES}
    assert len(NAMES) >= 25
    assert len(clusters) == 12


@pytest.mark.parametrize("name", NAMES)
def test_templates_differ_also_where_line_breaks_are_lost(name: str):
    texts = [as_t5_sees_it(template.inputs) for template in CATALOGUE.task(name).templates]
    for one, other in itertools.combinations(texts, 2):
        alike = SequenceMatcher(None, one, other, autojunk=False).ratio()
        assert alike < 0.7, f"{one!r} and {other!r}"


@pytest.mark.parametrize("name", NAMES)
def test_templates_vary_in_length_opening_and_ending(name: str):
    texts = [as_t5_sees_it(template.inputs) for template in CATALOGUE.task(name).templates]
    lengths = sorted(len(text) for text in texts)
    assert lengths[-1] >= 2.5 * lengths[0]
    openings = {" ".join(re.findall(r"\w+|\{\}", text)[:2]).lower() for text in texts}
    assert len(openings) >= 6
    endings = {"field" if text.endswith("{}") else text[-1] for text in texts}
    assert len(endings) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_options_are_asked_for_in_more_than_one_way(name: str):
    spec = CATALOGUE.task(name)
    if not spec.has_options:
        return
    forward = [spec.templates[number] for number in spec.forward_templates]
    shown = [template for template in forward if template.fields & {"options", "choices"}]
    blocks = [template for template in shown if "options" in template.fields]
    assert 5 <= len(shown) < len(forward)
    assert 3 <= len(blocks) < len(shown) or spec.option_fields is not None


def test_no_template_is_another_datasets_with_words_replaced():
    datasets = [name for name in NAMES if "like" not in read_yaml(CATALOGUE.paths[name])]
    texts = [
        (name, as_t5_sees_it(template.inputs))
        for name in datasets
        for template in CATALOGUE.task(name).templates
        if len(as_t5_sees_it(template.inputs)) > 30
    ]
    for (one, text), (other, theirs) in itertools.combinations(texts, 2):
        matcher = SequenceMatcher(None, text, theirs, autojunk=False)
        if one != other and matcher.real_quick_ratio() > 0.8 and matcher.quick_ratio() > 0.8:
            assert matcher.ratio() < 0.8, f"{one}: {text!r} and {other}: {theirs!r}"
