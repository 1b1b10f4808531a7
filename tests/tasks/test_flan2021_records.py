"""The Flan 2021 cards on real records, through TFDS's own builders, where the data are at hand.

A dataset whose records can't be had has hand-made ones: see `test_flan2021_features.py`.
"""

import functools
import re
from pathlib import Path

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed")

from flanmix.data.render import eligible_templates, render
from flanmix.data.sources.records import canonical_records
from flanmix.evaluate.metrics import primary_key, score
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.record import Record

CATALOGUE = Catalogue([tasks_root()])
NAMES = CATALOGUE.expand("flan2021")
RAW = Path(__file__).parent / "raw"
MOST = 60
ODD = re.compile(r"  | [,;?!](\s|$)|``|''|&\w+;|\\n")
# Datasets whose own text is untidy: informal writing, code, spaces within names, French spacing.
UNTIDY = {
    "ag_news_subset",
    "aeslc",
    "cosmos_qa",
    "dart",
    "e2e_nlg",
    "multi_news",
    "openbookqa",
    "piqa",
    "samsum",
    "web_nlg_en",
    "wmt14_enfr",
    "wmt16_translate_deen",
    "yelp_polarity_reviews",
}


@functools.cache
def records(name: str, split: str, folder: Path) -> tuple[Record, ...]:
    spec = CATALOGUE.task(name)
    made = canonical_records(spec, split, data_dir=folder, limit=MOST, warn=lambda message: None)
    return tuple(made)


def has_data(name: str, folder: Path) -> bool:
    """Whether the folder of TFDS datasets has the task's, in its version."""
    dataset, version = CATALOGUE.task(name).source.location.split(":")
    return any((folder / dataset).glob(f"**/{version}/dataset_info.json"))


@pytest.fixture
def real_data(name: str, shared_data: Path) -> Path:
    """The folder of TFDS datasets; a task that has hand-made records instead is skipped."""
    folder = shared_data / "tfds"
    if not has_data(name, folder):
        assert (RAW / f"{name}.json").exists(), "no real records and no hand-made ones"
        pytest.skip("its dataset is not among the real data; it has hand-made records")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_mapping_fits_the_builders_records(name: str, real_data: Path):
    spec = CATALOGUE.task(name)
    for split in [split for split in ("train", "test") if split in spec.splits]:
        found = records(name, split, real_data)
        assert len(found) >= 14
        for record in found:
            assert all(text == text.strip() for text in record.answers)
            assert not record.options or record.answers[0] in record.options
        if spec.options:
            assert {record.answers[0] for record in found} <= set(spec.options)
    if spec.has_options:
        places = {r.options.index(r.answers[0]) for r in found}
        assert len(places) >= min(2, len(found[0].options))


@pytest.mark.parametrize("name", NAMES)
def test_every_template_renders_and_reads_well(name: str, real_data: Path):
    spec = CATALOGUE.task(name)
    everything = range(len(spec.templates))
    for record in records(name, "train" if "train" in spec.splits else "test", real_data):
        eligible = eligible_templates(spec, record, everything)
        assert set(eligible) & set(spec.forward_templates)
        for number in eligible:
            pair = render(spec, record, number)
            assert pair.inputs == pair.inputs.strip() and pair.targets == pair.targets.strip()
            if name not in UNTIDY:
                assert not ODD.search(pair.inputs), f"template {number}: {pair.inputs}"


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_scores_100(name: str, real_data: Path):
    spec = CATALOGUE.task(name)
    found = records(name, "test", real_data)
    references = [record.answers for record in found]
    predictions = [record.answers[0] for record in found]
    figures = score(spec.metrics, references, predictions, spec.options)
    assert figures[primary_key(spec.metrics)] == pytest.approx(100.0)
