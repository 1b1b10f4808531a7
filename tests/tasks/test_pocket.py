"""The embedded collection: many tasks, deterministic, splits apart, and the instruction matters."""

import collections
import functools
import itertools
import subprocess
import sys

import pytest
import sentencepiece

from flanmix.data.canonical import canonicalize
from flanmix.data.render import render
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import resolve
from flanmix.registry.record import Record
from flanmix.registry.task import SPLITS, TaskSpec
from flanmix.registry.user_code import load_function
from tests.conftest import ROOT

CATALOGUE = Catalogue([ROOT / "tasks"])
NAMES = CATALOGUE.expand("pocket")
HELD_OUT = {"film_opinion", "meal_follows", "pronoun_work"}
HELD_OUT_TEMPLATES = (8, 9)
MODEL = ROOT / "tasks" / "pocket" / "pocket.model"


def specs() -> list[TaskSpec]:
    return [CATALOGUE.task(name) for name in NAMES]


@functools.cache
def records(name: str, split: str) -> list[Record]:
    spec = CATALOGUE.task(name)
    source = load_function(spec.folder, spec.source.location, f"task '{name}'")
    raws = enumerate(source(spec.splits[split]))
    return [r for i, raw in raws for r in canonicalize(spec, raw, f"{split}-{i}")]


def text_of(record: Record) -> tuple[str, ...]:
    return tuple(record.fields.values())


def test_there_are_many_tasks_and_clusters():
    assert len(NAMES) >= 24
    assert len({spec.cluster for spec in specs()}) >= 10
    kinds = collections.Counter(spec.kind for spec in specs())
    assert kinds["classification"] >= 12 and kinds["generation"] >= 6
    assert any(spec.option_fields for spec in specs()) and any(spec.options for spec in specs())


@pytest.mark.parametrize("name", NAMES)
def test_ten_different_templates_and_the_held_out_ones_ask_forward(name):
    templates = CATALOGUE.task(name).templates
    assert len({template.inputs for template in templates}) == 10
    assert sum(template.inverted for template in templates) <= 2
    assert not any(templates[number].inverted for number in HELD_OUT_TEMPLATES)


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_in_two_splits(name):
    seen = {split: {text_of(record) for record in records(name, split)} for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not seen[one] & seen[other]
    assert len(seen["train"]) >= 500 and len(seen["test"]) >= 100


def test_no_main_text_is_in_two_splits_of_any_two_tasks():
    where = collections.defaultdict(set)
    for name, split in itertools.product(NAMES, SPLITS):
        for record in records(name, split):
            longest = max(record.fields.values(), key=len)
            if len(longest.split()) > 4:
                where[longest].add(split)
    shared = {text: splits for text, splits in where.items() if len(splits) > 1}
    # A pair of claims is one text: its first claim alone may come again with another second.
    pairs = {
        max(record.fields.values(), key=len)
        for name in NAMES
        if "second" in CATALOGUE.task(name).fields
        for split in SPLITS
        for record in records(name, split)
    }
    assert not set(shared) - pairs


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_balanced(name):
    spec = CATALOGUE.task(name)
    answers = collections.Counter(record.answers[0] for record in records(name, "test"))
    if spec.options:
        assert set(answers) == set(spec.options)
        assert max(answers.values()) <= 1.25 * sum(answers.values()) / len(spec.options)
    elif spec.option_fields:
        rows = records(name, "test")
        places = collections.Counter(row.options.index(row.answers[0]) for row in rows)
        assert max(places.values()) <= 1.3 * len(rows) / len(rows[0].options)
        assert all(len(set(row.options)) == len(row.options) for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_every_template_renders_and_fits_the_lengths(name):
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(MODEL))
    spec = CATALOGUE.task(name)
    for record, number in itertools.product(records(name, "test")[:40], range(10)):
        pair = render(spec, record, number)
        for text, most in ((pair.inputs, 63), (pair.targets, 31)):
            tokens = vocabulary.encode(text)
            assert vocabulary.decode(tokens) == text
            assert 0 < len(tokens) <= most


def test_the_right_answer_needs_the_instruction():
    """The same text under two tasks, asked for different things: a majority of tasks is in it."""
    answers = collections.defaultdict(dict)
    for name in NAMES:
        for record in records(name, "train"):
            spec = CATALOGUE.task(name)
            key = next(iter(spec.fields))
            second = record.fields.get("second", "")
            answers[record.fields[key], second][name] = record.answers[0]
    differing = [row for row in answers.values() if len(set(row.values())) > 1]
    tasks = {name for row in differing for name in row}
    assert len(differing) >= 5000
    assert len(tasks) >= 12


def test_facts_that_are_asked_for_are_taught():
    for name in ("world_facts", "world_choice", "world_back"):
        taught = {record.answers[0] for record in records(name, "train")}
        assert {record.answers[0] for record in records(name, "test")} <= taught


def test_mixtures_hold_out_tasks_and_templates():
    def counts(spec):
        return len(records(spec.name, "train"))

    def of(name):
        return resolve(CATALOGUE.mixture(name), CATALOGUE, counts)

    whole, train = of("pocket"), of("pocket_train")
    templates, tasks = of("pocket_unseen_templates"), of("pocket_unseen_tasks")
    assert set(whole.names) == set(NAMES)
    assert set(train.names) == set(NAMES) - HELD_OUT == set(templates.names)
    assert set(tasks.names) == HELD_OUT
    assert {task.templates for task in train.tasks} == {tuple(range(8))}
    assert {task.templates for task in templates.tasks} == {HELD_OUT_TEMPLATES}
    clusters = {CATALOGUE.task(name).cluster for name in HELD_OUT}
    trained = {CATALOGUE.task(name).cluster for name in train.names}
    assert len(clusters) >= 2 and clusters <= trained


def test_records_are_the_same_in_every_process():
    code = (
        "import hashlib; from tests.tasks.test_pocket import NAMES, records;"
        "print(hashlib.sha256(b''.join(r.to_bytes() for n in NAMES"
        " for r in records(n, 'test'))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1 and len(digests.pop().strip()) == 64


def test_the_vocabulary_holds_any_text():
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(MODEL))
    assert MODEL.stat().st_size < 60_000
    assert [vocabulary.pad_id(), vocabulary.eos_id(), vocabulary.unk_id()] == [0, 1, 2]
    assert vocabulary.bos_id() == -1
    for text in ("Tab\tand  two spaces\n\n{x}", "漢字 🙂 שלום \x00 é", "Options:\n- a\n- b", " x "):
        tokens = vocabulary.encode(text)
        assert vocabulary.decode(tokens) == text and vocabulary.unk_id() not in tokens
