"""The Flan 2021 cards on hand-made records, one file a task, and their datasets' labels.

`raw/<task>.json` is a list of raw records as a reader of the builder's dataset yields them. What
their features are says the TFDS builder itself, without data and without a network, so that a
changed builder fails here: a record passes through it as through a dataset's files, and then
through the card. The first record is a natural one: `docs/templates.html` shows it.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed")

from flanmix.data.canonical import canonicalize
from flanmix.data.render import eligible_templates, render
from flanmix.data.sources.quiet_tensorflow import import_seqio, plain
from flanmix.evaluate.metrics import primary_key, score
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.record import Record

CATALOGUE = Catalogue([tasks_root()])
NAMES = CATALOGUE.expand("flan2021")
RAW = Path(__file__).parent / "raw"
FEWEST = 2  # records that a card keeps of its hand-made ones
OTHER_LABELS = {"trec": "label-coarse"}  # the feature that holds the label, where not `label`
# Their labels have no names: a truth value, 0 2 and 4, a number with a fraction.
NUMBERS = {"bool_q": "answer", "sentiment140": "polarity", "stsb": "label"}
TELLABLE = {"entailment": "yes", "neutral": "it is not possible to tell", "contradiction": "no"}
ADVERSARIAL = {"e": "Yes", "n": "It's impossible to say", "c": "No"}
OWN_WORDS = {  # options that the paper words otherwise than the builder names its labels
    "rte": {"entailment": "yes", "not_entailment": "no"},
    "snli": TELLABLE,
    "cb": {"entailment": "Yes", "contradiction": "No", "neutral": "It's impossible to say"},
    "anli_r1": ADVERSARIAL,
    "anli_r2": ADVERSARIAL,
    "anli_r3": ADVERSARIAL,
    "mnli_matched": TELLABLE,
    "mnli_mismatched": TELLABLE,
    "qnli": {"entailment": "yes", "not_entailment": "no"},
    "wnli": {"not_entailment": "no", "entailment": "yes"},
    "multirc": {"False": "no", "True": "yes"},
    "wsc": {"False": "no", "True": "yes"},
    "imdb_reviews": {"neg": "negative", "pos": "positive"},
    "yelp_polarity_reviews": {"1": "negative", "2": "positive"},
    "glue_mrpc": {"not_equivalent": "no", "equivalent": "yes"},
    "glue_qqp": {"not_duplicate": "no", "duplicate": "yes"},
    "paws_wiki": {"different_meaning": "no", "paraphrase": "yes"},
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


@functools.cache
def builder_features(dataset: str, folder: Path) -> Any:
    """The features of a dataset, as its TFDS builder states them; `folder` is empty."""
    import_seqio()
    import tensorflow_datasets as tfds

    return tfds.builder(dataset, data_dir=str(folder)).info.features


@pytest.fixture(scope="session")
def no_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder: what a builder knows there, it knows by itself."""
    return tmp_path_factory.mktemp("no_data")


def through_the_builder(rows: list[Mapping[str, Any]], features: Any) -> list[Mapping[str, Any]]:
    """Raw records as a reader of the dataset's files gives them: the path of `flanmix prepare`."""
    import tensorflow as tf

    stored = [features.serialize_example(features.encode_example(row)) for row in rows]
    dataset = tf.data.Dataset.from_tensor_slices(stored).map(features.deserialize_example)
    return [plain(example) for example in dataset.as_numpy_iterator()]


def hand_made(name: str) -> list[Mapping[str, Any]]:
    """A task's hand-made raw records."""
    return json.loads((RAW / f"{name}.json").read_text(encoding="utf-8"))


def through_the_card(name: str, rows: list[Mapping[str, Any]]) -> tuple[Record, ...]:
    """The canonical records that a card makes of raw ones."""
    spec = CATALOGUE.task(name)
    made = (canonicalize(spec, row, f"test-{number}") for number, row in enumerate(rows))
    return tuple(record for group in made for record in group)


@functools.cache
def records(name: str, folder: Path) -> tuple[Record, ...]:
    """The canonical records that a card makes of the hand-made ones, read as a dataset is."""
    features = builder_features(CATALOGUE.task(name).source.location, folder)
    return through_the_card(name, through_the_builder(hand_made(name), features))


def test_every_task_has_hand_made_records():
    assert sorted(path.stem for path in RAW.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_hand_made_records_are_what_a_reader_yields(name: str, no_data: Path):
    assert through_the_card(name, hand_made(name)) == records(name, no_data)


@pytest.mark.parametrize("name", NAMES)
def test_the_mapping_fits_the_builders_features(name: str, no_data: Path):
    spec = CATALOGUE.task(name)
    found = records(name, no_data)
    assert len(found) >= FEWEST
    for record in found:
        assert all(text == text.strip() for text in record.answers)
        assert not record.options or record.answers[0] in record.options
    if spec.has_options:
        places = {record.options.index(record.answers[0]) for record in found}
        assert len(places) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_every_template_renders(name: str, no_data: Path):
    spec = CATALOGUE.task(name)
    rendered = set()
    for record in records(name, no_data):
        eligible = eligible_templates(spec, record, range(len(spec.templates)))
        assert set(eligible) & set(spec.forward_templates)
        for number in eligible:
            pair = render(spec, record, number)
            assert pair.inputs == pair.inputs.strip() and pair.inputs
            assert pair.targets == pair.targets.strip() and pair.targets
            rendered.add(number)
    assert rendered == set(range(len(spec.templates)))


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_scores_100(name: str, no_data: Path):
    spec = CATALOGUE.task(name)
    found = records(name, no_data)
    references = [record.answers for record in found]
    predictions = [record.answers[0] for record in found]
    figures = score(spec.metrics, references, predictions, spec.options)
    key = primary_key(spec.metrics)
    if key:
        assert figures[key] == pytest.approx(100.0)
    else:  # an edit distance, which is no score
        assert set(figures.values()) == {0.0}


@pytest.mark.parametrize("name", [n for n in NAMES if CATALOGUE.task(n).options])
def test_options_are_in_the_builders_label_order(name: str, no_data: Path):
    import tensorflow_datasets as tfds

    spec = CATALOGUE.task(name)
    features = builder_features(spec.source.location, no_data)
    if name in NUMBERS:
        assert not isinstance(features[NUMBERS[name]], tfds.features.ClassLabel)
        return
    label = features[OTHER_LABELS.get(name, "label")]
    words = OWN_WORDS.get(name, {})
    assert tuple(words.get(text, text) for text in label.names) == spec.options
