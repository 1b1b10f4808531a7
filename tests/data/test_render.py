"""Rendering is pure, and what it draws is decided by seed, epoch and record alone."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.randomness import fold, uniform
from flanmix.data.render import draw, eligible_templates, render
from flanmix.data.tokens import Lengths, tokenize
from flanmix.data.vocabulary import ByteVocabulary
from flanmix.registry.record import Record
from flanmix.registry.task import Source, TaskSpec
from flanmix.registry.template import Template

SPEC = TaskSpec(
    name="toy",
    collection="mine",
    cluster="nli",
    version=1,
    kind="classification",
    source=Source("jsonl", "."),
    splits={"train": "rows.jsonl"},
    fields={"text": "text", "title": "title"},
    answer="label",
    options=("yes", "no"),
    optional=("title",),
    templates=(
        Template("{text}? {choices}", "It is {answer}."),
        Template("{title}: {text}\n{options}"),
        Template("A text that is {answer}:", "{text}", inverted=True),
    ),
    metrics=("accuracy",),
)
RECORD = Record("train-0", {"text": "Rain", "title": ""}, ("no",), ("yes", "no"))


def test_every_option_is_rendered_as_a_target():
    pair = render(SPEC, RECORD, 0)
    assert (pair.inputs, pair.targets) == ("Rain? yes or no", "It is no.")
    assert pair.options == ("It is yes.", "It is no.")
    assert pair.references == ("It is no.",)
    inverted = render(SPEC, RECORD, 2)
    assert (inverted.targets, inverted.options) == ("Rain", ())


def test_exemplars_come_first_in_the_same_words():
    other = Record("train-1", {"text": "Snow", "title": ""}, ("yes",), ("yes", "no"))
    pair = render(SPEC, RECORD, 0, exemplars=[other])
    assert pair.inputs == "Snow? yes or no\nAnswer: It is yes.\n\nRain? yes or no\nAnswer:"
    assert pair.targets == "It is no."


def test_references_are_rendered_too():
    record = replace(RECORD, answers=("a", "b"), options=())
    spec = replace(
        SPEC, kind="generation", options=(), templates=(Template("{text}", "<{answer}>"),)
    )
    pair = render(spec, record, 0, reference=1)
    assert (pair.targets, pair.references) == ("<b>", ("<a>", "<b>"))


def test_a_template_whose_field_is_empty_is_not_drawn():
    assert eligible_templates(SPEC, RECORD, (0, 1, 2)) == (0, 2)
    assert draw(SPEC, RECORD, (1,), 0, 0) is None
    drawn = {draw(SPEC, RECORD, (0, 1), 0, epoch) for epoch in range(20)}
    assert drawn == {(0, 0)}


def test_templates_are_drawn_evenly_and_anew_each_epoch():
    record = replace(RECORD, fields={"text": "Rain", "title": "Weather"})
    records = [replace(record, id=f"train-{number}") for number in range(3000)]
    counts = Counter(draw(SPEC, record, (0, 1, 2), 0, 0)[0] for record in records)
    assert all(850 < counts[number] < 1150 for number in range(3))
    epochs = {draw(SPEC, record, (0, 1, 2), 0, epoch)[0] for epoch in range(30)}
    assert epochs == {0, 1, 2}


def test_fold_never_changes():
    # A change here changes every run's data: it must be a decision, not an accident.
    assert fold(0, "template", "toy", 1, "train-0") == 16783677833476186386
    assert 0 <= uniform(3, "a") < 1


@given(st.integers(), st.lists(st.text() | st.integers(), max_size=3))
def test_fold_is_64_bits_and_pure(seed: int, values: list):
    assert fold(seed, *values) == fold(seed, *values)
    assert 0 <= fold(seed, *values) < 2**64


@given(text=st.text(min_size=1), answer=st.text(min_size=1))
def test_any_text_passes_through_every_template(text: str, answer: str):
    options = (answer, answer + "x")
    record = Record("train-0", {"text": text, "title": text}, (answer,), options)
    for number in range(3):
        pair = render(SPEC, record, number)
        assert text in pair.inputs + pair.targets
        assert answer in pair.inputs + pair.targets


# ---- rationale and weight ----------------------------------------------------------------------

WHY = replace(
    SPEC,
    rationale="why",
    templates=(
        Template("{text}?", "It is {answer}."),
        Template("{text}? Think.", "{rationale} So it is {answer}."),
        Template("{text}. Why {answer}?", "{rationale}", inverted=True),
        Template("Of what is this said? {rationale}", "{text}", inverted=True),
    ),
)
REASONED = replace(RECORD, rationale="Rain falls {answer}.", weight=0.25)


def test_a_rationale_is_a_field_of_the_templates():
    texts = [render(WHY, REASONED, number) for number in range(4)]
    assert texts[1].targets == "Rain falls {answer}. So it is no."
    assert texts[2].targets == "Rain falls {answer}."
    assert texts[3].inputs == "Of what is this said? Rain falls {answer}."
    # What writes the gold rationale out, or asks for it, is neither ranked nor scored.
    assert [bool(text.options) for text in texts] == [True, False, False, False]
    assert WHY.forward_templates == (0,)
    assert {text.weight for text in texts} == {0.25}


def test_a_record_without_a_rationale_goes_without_its_templates():
    assert eligible_templates(WHY, RECORD, range(4)) == (0,)
    assert eligible_templates(WHY, REASONED, range(4)) == (0, 1, 2, 3)
    assert draw(WHY, RECORD, (1, 2, 3), 0, 0) is None


def test_a_rationale_may_not_give_the_answer_away():
    with pytest.raises(ValueError, match=r"template 0: its input shows \{rationale\}"):
        replace(WHY, templates=(Template("{rationale} {text}?"),))
    with pytest.raises(ValueError, match="field 'rationale' is reserved"):
        replace(WHY, fields={"text": "text", "title": "title", "rationale": "why"})
    shown = Template("{rationale} {text}?")
    free = replace(SPEC, fields={"text": "text", "title": "t", "rationale": "why"}, rationale=None)
    assert replace(free, templates=(shown,)).forward_templates == (0,)


def test_a_records_weight_multiplies_its_loss():
    (example,) = tokenize(
        [render(WHY, REASONED, 0)], [0], [3.0], ByteVocabulary(), Lengths(64, 32, "causal")
    )
    assert set(example.weights.tolist()) == {0.75}
