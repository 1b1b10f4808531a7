"""The Flan 2021 cards: their wording, and their mappings on real records."""

import itertools
import json
import re
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from flanmix.spec.catalogue import Catalogue
from flanmix.spec.places import tasks_root
from flanmix.spec.task import TaskSpec

CATALOGUE = Catalogue([tasks_root()])
NAMES = CATALOGUE.expand("flan2021")
OWN_WORDS = {  # options that the paper words otherwise than the builder names its labels
    "rte": {"entailment": "yes", "not_entailment": "no"},
    "snli": {"entailment": "yes", "neutral": "it is not possible to tell", "contradiction": "no"},
    "cb": {"entailment": "Yes", "contradiction": "No", "neutral": "It's impossible to say"},
    "yelp_polarity_reviews": {"1": "negative", "2": "positive"},
    "glue_mrpc": {"not_equivalent": "no", "equivalent": "yes"},
    "ag_news_subset": {"Sci/Tech": "Science/Tech"},
    "trec": {
        "DESC": "description",
        "ENTY": "entity",
        "ABBR": "abbreviation",
        "HUM": "human",
        "NUM": "numeric",
        "LOC": "location",
    },
    "wic": {"False": "different meanings", "True": "the same meaning"},
}


def as_t5_sees_it(text: str) -> str:
    """White space collapsed: T5's vocabulary has no line break. Every field looks the same."""
    return " ".join(re.sub(r"\{\w+\}", "{}", text).split())


def builder_folder(spec: TaskSpec, shared_data: Path) -> Path:
    dataset, version = spec.source.location.split(":")
    folder = shared_data / "tfds" / dataset / version
    return (
        folder if folder.is_dir() else next((shared_data / "tfds" / dataset).glob(f"*/{version}"))
    )


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
    texts = [
        (name, as_t5_sees_it(template.inputs))
        for name in NAMES
        for template in CATALOGUE.task(name).templates
        if len(as_t5_sees_it(template.inputs)) > 30
    ]
    for (one, text), (other, theirs) in itertools.combinations(texts, 2):
        matcher = SequenceMatcher(None, text, theirs, autojunk=False)
        if one != other and matcher.real_quick_ratio() > 0.8 and matcher.quick_ratio() > 0.8:
            assert matcher.ratio() < 0.8, f"{one}: {text!r} and {other}: {theirs!r}"


@pytest.mark.parametrize("name", [n for n in NAMES if CATALOGUE.task(n).options])
def test_options_are_in_the_builders_label_order(name: str, shared_data: Path):
    spec = CATALOGUE.task(name)
    folder = builder_folder(spec, shared_data)
    label = {"trec": "label-coarse", "bool_q": "answer"}.get(name, "label")
    if name == "bool_q":
        features = json.loads((folder / "features.json").read_text())
        assert "bool" in json.dumps(features["featuresDict"]["features"]["answer"])
        assert spec.options == ("no", "yes")
        return
    names = (folder / f"{label}.labels.txt").read_text().split("\n")
    words = OWN_WORDS.get(name, {})
    assert tuple(words.get(text, text) for text in names if text) == spec.options
