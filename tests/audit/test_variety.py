"""Templates that are too much the same are found; a writer's wordings are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.audit.variety import FEWEST, variety_faults
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.template import Template
from tests.registry.texts import TEXTS, template_of

GOOD = [
    "Is this review of a film friendly or not?\n{review}",
    "{review} Friendly, yes or no:",
    "A reader of the newspaper sent in some lines about a film. {review} Tell us, before we print "
    "them, whether she liked it",
    "Somebody writes: {review} What do they think of the film they saw?",
    "film: {review}\nopinion:",
]


def faults(*added: str, good: list[str] = GOOD) -> list[tuple[int | None, str]]:
    return variety_faults([Template(text) for text in (*good, *added)])


def test_a_writers_wordings_are_all_right() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("{review}   Friendly,\nyes or no:", "is template 1 again, but for line breaks and fields"),
        (
            "Somebody writes: {review} What do they think of the play they saw?",
            "is like template 3: 9",
        ),
        (
            "Before we print them, tell us whether she liked it. A reader of the newspaper sent in "
            "some lines about a film. {review}",
            "has 14 of 18 runs of 3 words with template 2: at most 50%",
        ),
    ],
)
def test_a_copy_is_found_with_its_original_and_the_figure(added: str, says: str) -> None:
    ((number, message),) = faults(added)
    assert number == len(GOOD)
    assert says in message


def test_another_field_is_no_other_wording() -> None:
    ((number, message),) = faults("film: {text}\nopinion:")
    assert (number, message[:20]) == (len(GOOD), "is template 4 again,")


def test_a_short_request_may_share_most_of_its_words() -> None:
    short = ["Translate into German: {text}", "Put into German: {text}", "{text} In German?"]
    long = "What would a speaker of German have said in place of these words? {text} Answer:"
    assert faults(long, good=short) == []
    ((number, message),) = faults(long, "Translate to German: {text}", good=short)
    assert (number, message[:21]) == (4, "is like template 0: 9")


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (
            ["Who did it? {text}", "{text} What for?", "Name one. {text}", "{text} Any more?"],
            "all of a length, 11 to 13 characters",
        ),
        (
            [
                "Say who it was: {text}",
                "Say who. {text}",
                "{text} Who?",
                "{text} Who did all of it?",
            ],
            "its 4 templates open in 2 ways: at least 3",
        ),
        (
            [
                "Say who it was: {text}",
                "Say, {text}",
                "Say if {text} is so",
                "What is meant? {text}",
            ],
            "3 of its 4 templates open with 'say': at most 2",
        ),
        (
            [
                "{text} Who?",
                "{text} When was that?",
                "{text} Is it so?",
                "Do you know? {text} Then?",
            ],
            "3 of its 4 templates open with a field: at most 2",
        ),
        (
            [
                "Who? {text}",
                "When was that? {text}",
                "It says {text}",
                "What do you make of {text}",
            ],
            "all of its templates end with a field",
        ),
    ],
)
def test_what_has_no_spread_is_found(texts: list[str], says: str) -> None:
    found = faults(good=texts)
    assert all(number is None for number, _ in found)
    assert any(says in message for _, message in found), found


def test_a_few_templates_are_not_measured() -> None:
    same = ["{text}"] * (FEWEST - 1)
    assert faults(good=same) == []
    assert faults(good=[*same, "{text}"]) != []


@given(st.lists(TEXTS, max_size=6), st.integers(0, 6))
def test_any_texts_are_measured(texts: list[str], copies: int) -> None:
    templates = [template_of(text) for text in texts]
    variety_faults(templates + templates[:1] * copies)


def test_templates_that_ship_are_far_from_their_copies() -> None:
    """Each, with its last word replaced, is found to be like itself."""
    catalogue = Catalogue([tasks_root()])
    for name in catalogue.expand("flan2021/nli"):
        templates = list(catalogue.task(name).templates)
        copied = templates[0].inputs.replace("?", ", would you say?")
        number = len(templates)
        found = variety_faults([*templates, Template(copied)])
        assert found[0][0] == number, name
        assert found[0][1].startswith("is like template 0: "), name
