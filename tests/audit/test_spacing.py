"""Unnatural spaces and marks around fields are found, in templates and in records."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.audit.spacing import RecordSpacing, spacing_faults
from flanmix.registry.card import load_card
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template
from tests.registry.cards import write_card
from tests.registry.texts import TEXTS, template_of


@pytest.mark.parametrize(
    "text",
    [
        "Is it so that {text}?",
        '"{text}" - {text}, ({text}); {text}.',
        "{text}\n\nQuestion: {text}'s own?\n{options}",
        "{options}\n\n{text}",
        "{text} {options}",
        "{text} ... and then?",
        "A smile :) {text} :-) and :(",
        "{{{text}}} is JSON: {{ [ ]}}",
        "def f():\n    return {text}",
        "Est-ce vrai\u00a0? {text}",
        "En français : {text}",
        "请把{text}翻译成英文。",
        "{text}-year-old",
        "{text} =",
        "3 / {text} || {text}",
    ],
)
def test_natural_text_is_left_alone(text: str) -> None:
    assert spacing_faults(Template(text, "{answer}")) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Is it {text} ?", "a space before punctuation: '{text} ?'"),
        ("Well , {text}", "a space before punctuation"),
        ("It was {text} .", "a space before punctuation"),
        ("Here ( {text}", "a space after a bracket"),
        ("Is  it {text}", "two spaces in a row: 'Is  it'"),
        ("Is it\t\t{text}", "two spaces in a row"),
        ("It is{text} now", "glues {text} to a word: 'is{text}"),
        ("All {text}s", "glues {text} to a word"),
        ("Вот{text}", "glues {text} to a word"),
        ("Text:{text}", "glues {text} to the punctuation before it"),
        ("{text}{choices}", "no space between {text} and {choices}"),
        ("{text} \nIs it?", "a space at the end of a line"),
        ("{text}\n\n\nIs it?", "more than one empty line in a row"),
        ("{text} Is it?\n", "begins or ends with white space"),
        (" {text} Is it?", "begins or ends with white space"),
        ("{text} ({options}", "glues the list of options to what is before it"),
        ("{text}\n{options} Choose.", "goes on in the line of the last option"),
        ("{text}\n{options}.", "goes on in the line of the last option"),
    ],
)
def test_unnatural_text_is_found(text: str, says: str) -> None:
    (message,) = spacing_faults(Template(text, "{answer}"))
    assert message.startswith("its input ")
    assert says in message


def test_targets_are_looked_at_too() -> None:
    (message,) = spacing_faults(Template("{text}", " {answer}"))
    assert message.startswith("its target begins or ends with white space")


@given(TEXTS)
def test_any_text_is_looked_at(text: str) -> None:
    for message in spacing_faults(template_of(text)):
        assert "\n" not in message


# ---- records -----------------------------------------------------------------------------------


@pytest.fixture
def spec(tmp_path: Path) -> TaskSpec:
    return replace(
        load_card(write_card(tmp_path, "mine/nli/toy")),
        templates=(
            Template("{premise}. So {hypothesis}?\n{options}"),
            Template("{premise}\n{hypothesis} ({choices})"),
        ),
    )


def seen(
    spec: TaskSpec, *premises: str, options: tuple[str, ...] = ("yes", "no")
) -> list[tuple[int | None, str]]:
    spacing = RecordSpacing(spec)
    for number, premise in enumerate(premises):
        fields = {"premise": premise, "hypothesis": "it is wet"}
        spacing.add(Record(f"train-{number}", fields, options[:1], options))
    return spacing.problems()


def test_natural_records(spec: TaskSpec) -> None:
    assert seen(spec, "It rains", 'He said "No!"', "Du kommst", "雨が降る。") == []
    assert seen(spec) == []


def test_a_mark_after_a_mark(spec: TaskSpec) -> None:
    ((template, message),) = seen(spec, "It rains.", "It snows.", "It is dry")
    assert template == 0
    assert message == (
        "puts '.' after {premise}, which ends with punctuation, in 2 of 3 records: 'It rains..'"
    )


def test_what_is_rare_is_the_worlds(spec: TaskSpec) -> None:
    assert seen(spec, "Who?", *["It rains"] * 20) == []
    assert len(seen(spec, "Who?", *["It rains"] * 9)) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" It rains", "field 'premise' begins or ends with white space, in 1 of 1 records"),
        ("It  rains", "field 'premise' has two spaces in a row"),
        ("It rains , it is said", "field 'premise' has a space before punctuation"),
    ],
)
def test_a_field_by_itself(spec: TaskSpec, text: str, says: str) -> None:
    ((template, message),) = seen(spec, text)
    assert template is None
    assert says in message


def test_marks_that_other_languages_set_apart(spec: TaskSpec) -> None:
    assert seen(spec, "Où est la gare ? Là") == []
    assert "'gare , là'" in seen(spec, "Où est la gare , là")[0][1]


def test_a_field_that_is_used_twice_is_one_fault(spec: TaskSpec) -> None:
    twice = replace(spec, templates=(Template("{premise}. {premise}. {hypothesis}"),))
    ((_, message),) = seen(twice, "It rains.", "It rains")
    assert "in 1 of 2 records" in message


def test_a_megabyte_of_spaces_takes_no_time(spec: TaskSpec) -> None:
    assert len(seen(spec, "It" + " " * 10**6 + "rains" + " " * 10**6)) == 2


def test_sentences_are_no_choices(spec: TaskSpec) -> None:
    ((template, message),) = seen(spec, "It rains", options=("It is wet.", "It is dry"))
    assert template == 1
    assert "use {options}, in 1 of 1 records: 'It is wet. or It is dry'" in message


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_any_record_is_looked_at(premise: str, hypothesis: str, options: list[str]) -> None:
    template = Template("{premise}. {hypothesis}? {answer}\n{premise}", "{hypothesis}", True)
    spec = _any_spec((template, Template("{choices}, {premise}\n{options}")))
    spacing = RecordSpacing(spec)
    fields = {"premise": premise, "hypothesis": hypothesis}
    spacing.add(Record("train-0", fields, tuple(options[:1]), tuple(options)))
    spacing.problems()


def _any_spec(templates: tuple[Template, ...]) -> TaskSpec:
    from flanmix.registry.task import Source

    return TaskSpec(
        name="toy",
        collection="mine",
        cluster="nli",
        version=1,
        kind="classification",
        source=Source("jsonl", "."),
        splits={"train": "rows.jsonl"},
        fields={"premise": "premise", "hypothesis": "hypothesis"},
        answer="label",
        templates=templates,
        metrics=("accuracy",),
        options=("yes", "no"),
    )
