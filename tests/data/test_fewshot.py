"""Exemplars: of the task's training split, never the query, pure; the query is not truncated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.examples import ExampleReader
from flanmix.data.fewshot import (
    choose_exemplars,
    exemplar_indices,
    exemplars,
    wants_exemplars,
)
from flanmix.data.loader import Loader
from flanmix.data.render import CUE
from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import ByteVocabulary
from flanmix.errors import UserError
from flanmix.registry.record import Record
from tests.data.small_mixture import prepare, records, specs


@given(
    st.integers(0, 2**40),
    st.integers(0, 10),
    st.integers(1, 3000),
    st.integers(0, 8),
    st.data(),
)
def test_exemplars_are_others_and_different(seed, epoch, size, count, data):
    query = data.draw(st.integers(0, size - 1) | st.none())
    arguments = (seed, "task", epoch, "train-0", size, count, query)
    indices = exemplar_indices(*arguments)
    assert indices == exemplar_indices(*arguments)
    assert len(set(indices)) == len(indices)
    assert query not in indices
    assert all(0 <= index < size for index in indices)
    others = size - (query is not None)
    assert len(indices) >= min(count, others)


def test_every_other_record_is_drawn_somewhere():
    drawn = set()
    for epoch in range(200):
        drawn.update(exemplar_indices(0, "task", epoch, "train-4", 10, 2, 4))
    assert drawn == set(range(10)) - {4}


def test_a_share_of_the_queries_has_some():
    having = [wants_exemplars(0, "task", 0, f"train-{i}", 0.25) for i in range(4000)]
    assert 0.22 < np.mean(having) < 0.28
    assert not any(wants_exemplars(0, "task", 0, f"train-{i}", 0.0) for i in range(100))
    assert all(wants_exemplars(0, "task", 0, f"train-{i}", 1.0) for i in range(100))


def test_the_query_and_what_says_the_same_are_passed_over():
    spec = specs()[1]
    train = records(spec)
    twin = type(train[0])("train-77", train[4].fields, ("x",))
    chosen = choose_exemplars(spec, train[4], 0, [twin, train[4], *train[5:9]], 3)
    assert chosen == tuple(train[5:8])
    # Template 2 needs the note, which every third record lacks.
    chosen = choose_exemplars(spec, train[4], 2, train[6:12], 3)
    assert [record.id for record in chosen] == ["train-7", "train-8", "train-10"]


def test_for_a_query_of_another_split():
    spec = specs()[1]
    train, query = records(spec), records(spec, "test")[0]
    shown = exemplars(
        spec, query, 0, 3, read=lambda ns: [train[n] for n in ns], size=len(train), seed=0
    )
    assert len(shown) == 3 and all(record.id.startswith("train-") for record in shown)


@pytest.mark.parametrize("architecture", ["encoder_decoder", "causal"])
def test_the_query_is_never_truncated_for_exemplars(tmp_path, architecture):
    mixture, store = prepare(tmp_path, few_shot=3, share=1.0)
    plain, _ = prepare(tmp_path, few_shot=0)
    vocabulary = ByteVocabulary()
    lengths = Lengths(230, 40, architecture)
    shown = ExampleReader(mixture, store, vocabulary, lengths).read(range(300))
    alone = ExampleReader(plain, store, vocabulary, lengths).read(range(300))
    counts = set()
    for few, none in zip(shown, alone, strict=True):
        text, query = vocabulary.decode(few.inputs), vocabulary.decode(none.inputs)
        cues = text.count(CUE)
        assert few.inputs_truncated == none.inputs_truncated
        assert np.array_equal(few.targets, none.targets)
        if cues:
            assert text.endswith(query + CUE)
            assert not few.inputs_truncated
        else:
            assert text == query
        counts.add(cues - 1 if cues else 0)
    assert counts >= {0, 1, 2, 3}


def _record(number: int, text: str, note: str = "") -> Record:
    return Record(f"train-{number}", {"text": text, "note": note}, ("x",))


@pytest.mark.parametrize(
    "twin",
    [
        "It Rains.",
        "it rains. ",
        "it\u00a0 rains.",
        "it ra\u200bins.",
        "\uff49t rains.",
        "it\nrains.",
    ],
)
def test_twins_are_not_shown_before_the_query_nor_with_one_another(twin):
    spec = specs()[1]
    query, other = _record(0, "it rains."), _record(1, "the sun shines.")
    assert choose_exemplars(spec, query, 0, [_record(2, twin), other], 2) == (other,)
    train = [_record(3, "it rains."), _record(4, twin), query]
    assert choose_exemplars(spec, other, 0, train, 3) == (train[0],)


def test_a_field_that_the_template_does_not_show_makes_no_difference():
    spec = specs()[1]
    query, twin = _record(0, "it rains.", "a note"), _record(1, "It rains.", "another")
    assert choose_exemplars(spec, query, 0, [twin], 2) == ()
    assert choose_exemplars(spec, query, 2, [twin], 2) == (twin,)  # template 2 shows the note


def test_a_run_with_exemplars_does_not_go_on_with_others(tmp_path):
    from dataclasses import replace

    from flanmix.model.t5 import T5Config
    from flanmix.train.data import Data
    from flanmix.train.run_record import check_unchanged, run_record
    from flanmix.train.settings import DataConfig, Run

    data = DataConfig(
        store="s", mixture="m", batch_size=4, inputs_length=8, targets_length=8, vocabulary="byte"
    )
    run = Run("runs/a", T5Config(vocab_size=384), data=data)
    few, store = prepare(tmp_path)
    plain = replace(few, tasks=tuple(replace(t, few_shot=0) for t in few.tasks))
    vocabulary = ByteVocabulary()
    with_few, without = (
        run_record(
            run, Data(m, (), store, vocabulary, Loader(run.loader, m, store, vocabulary)), "", {}
        )
        for m in (few, plain)
    )
    assert "exemplars" not in without["data"]
    older = {**with_few, "data": {k: v for k, v in with_few["data"].items() if k != "exemplars"}}
    check_unchanged(with_few, with_few, tmp_path)
    with pytest.raises(UserError, match="had other data: exemplars was None"):
        check_unchanged(older, with_few, tmp_path)
