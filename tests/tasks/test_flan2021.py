"""The Flan 2021 cards: their wording."""

import itertools
from difflib import SequenceMatcher

import pytest

from flanmix.audit.spacing import marked, without_names
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.yaml_file import read_yaml

CATALOGUE = Catalogue([tasks_root()])
NAMES = CATALOGUE.expand("flan2021")


def texts_of(name: str) -> list[str]:
    """A task's templates as a vocabulary without line breaks sees them."""
    templates = CATALOGUE.task(name).templates
    return [without_names(marked(t.render_inputs, t.input_fields)) for t in templates]


def test_the_collection_has_every_cluster_of_the_paper():
    clusters = {CATALOGUE.task(name).cluster for name in NAMES}
    assert len(NAMES) >= 25
    assert len(clusters) == 12


@pytest.mark.parametrize("name", NAMES)
def test_lengths_vary_more_than_check_asks_for(name: str):
    lengths = sorted(len(text) for text in texts_of(name))
    assert lengths[-1] >= 2.5 * lengths[0]


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
    cards = {name: CATALOGUE.entries[name].lint_path for name in NAMES}
    datasets = [name for name, path in cards.items() if path and "like" not in read_yaml(path)]
    texts = [(name, text) for name in datasets for text in texts_of(name) if len(text) > 28]
    for (one, text), (other, theirs) in itertools.combinations(texts, 2):
        matcher = SequenceMatcher(None, text, theirs, autojunk=False)
        if one != other and matcher.real_quick_ratio() > 0.8 and matcher.quick_ratio() > 0.8:
            assert matcher.ratio() < 0.8, f"{one}: {text!r} and {other}: {theirs!r}"
