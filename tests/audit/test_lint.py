"""Each mistake of a card or a mixture is found, by template where it is about one."""

from pathlib import Path

import pytest

from flanmix.audit.lint import Problem, lint_entry, lint_mixture
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.collections import card_entry
from tests.registry.cards import CARD, write_card

FIRST = '- inputs: "{premise} Then {hypothesis}?\\n{options}"'
ADDED = "templates:\n  - inputs: "


def card(**changes: str) -> str:
    """The good card with some texts replaced; `add` is the input of one more template."""
    text = CARD.format(name="toy")
    if "add" in changes:
        text = text.replace("templates:\n", f"{ADDED}{changes.pop('add')}\n")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def lint(path: Path) -> list[Problem]:
    return lint_entry(card_entry(path))


def test_a_good_card_has_no_problems(tmp_path: Path) -> None:
    assert lint(write_card(tmp_path, "mine/nli/toy")) == []


@pytest.mark.parametrize(
    ("text", "template", "says"),
    [
        (card(add='"{premise} {hypotesis}?"'), 0, "'{hypotesis}' is unknown; did you mean 'hypo"),
        (card(add='"{premise} so {answer}?"'), 0, "shows {answer}"),
        (card(add='"{premise} { {hypothesis}"'), 0, "a lone '{'"),
        (card(add='"Choose one of the options. {premise} {hypothesis}"'), 0, "promises options"),
        (card(add='"What is true?"'), 0, "every record would have the same input"),
        (card(add='"{premise} Then\\n{hypothesis}?\\n{options}"'), 1, "same words as template 0"),
        (card(add='"{premise} {hypothesis}"\n    targets: "{hypothesis} {answer}"'), 0, "asks for"),
        (card(name="nome"), None, "key 'nome' is unknown"),
        (card(toy="toys"), None, "it must be the file's, 'toy'"),
        (card(accuracy="acuracy"), None, "did you mean 'accuracy'?"),
        (card(train="trian"), None, "split 'trian' is unknown"),
        (card(**{"options: [": "labels: ["}), None, "labels"),
        (
            card(**{"hypothesis: hypothesis": "hypothesis: hypothesis, x: x"}),
            None,
            "'x' is used by",
        ),
        (card(**{"premise: text": "gold: label, premise: text"}), None, "'gold' is used by no"),
        (card(**{"version: 1": "version: one"}), None, "version is 'one'"),
        ("name: [", None, "not YAML"),
        ("- 1", None, "holds no mapping"),
        (card(**{"metrics: [accuracy]": "metrics: [accuracy]\nmap: gone.py:f"}), None, "missing"),
    ],
)
def test_a_mistake_is_found(tmp_path: Path, text: str, template: int | None, says: str) -> None:
    problems = lint(write_card(tmp_path, "mine/nli/toy", text))
    assert [p.template for p in problems] == [template], problems
    assert says in problems[0].message
    assert problems[0].task == "toy"


def test_a_field_that_is_the_answer_is_shown(tmp_path: Path) -> None:
    text = card(**{"premise: text": "gold: label, premise: text"}, add='"{premise} {gold}"')
    (problem,) = lint(write_card(tmp_path, "mine/nli/toy", text))
    assert problem.message == "its input shows the answer: 'gold' is 'label'"


def test_all_wording_is_looked_at_in_one_go(tmp_path: Path) -> None:
    text = card(add='"{a} {b}"\n  - inputs: "{answer}"\n  - inputs: "{"')
    problems = lint(write_card(tmp_path, "mine/nli/toy", text))
    assert [p.template for p in problems] == [0, 0, 1, 2]


def test_fields_that_are_the_options_keep_a_promise(tmp_path: Path) -> None:
    text = card(add='"{premise} Which of these: {first} or {second}?"')
    text = text.replace('["yes", "no"]', "{fields: [c1, c2]}")
    text = text.replace("premise: text", "first: c1, second: c2, premise: text")
    assert lint(write_card(tmp_path, "mine/nli/toy", text)) == []
    text = card(add='"{premise} {hypothesis} Choose between yes and no."')
    assert lint(write_card(tmp_path, "mine/nli/toy", text)) == []


def test_an_optional_field_that_all_templates_use(tmp_path: Path) -> None:
    text = card(**{"metrics: [accuracy]": "metrics: [accuracy]\noptional: [premise]"})
    (problem,) = lint(write_card(tmp_path, "mine/nli/toy", text))
    says = "no template does without 'premise': records where optional fields are empty are lost"
    assert problem.message == says
    text = text.replace("templates:\n", 'templates:\n  - inputs: "So {hypothesis}?"\n')
    assert lint(write_card(tmp_path, "mine/nli/toy", text)) == []


def test_options_that_no_template_lists(tmp_path: Path) -> None:
    texts = [
        "{premise} So {hypothesis}?",
        "Is it that {hypothesis}, if {premise}",
        "{hypothesis} That is the claim, and the text is this. {premise} True?",
    ]
    listed = "".join(f'  - inputs: "{text}"\n' for text in texts)
    first, after = CARD.format(name="toy").split("templates:\n")
    inverted = after[after.index('  - inputs: "Write') :]
    text = f"{first}templates:\n{listed}{inverted}"
    (problem,) = lint(write_card(tmp_path, "mine/nli/toy", text))
    assert problem.message.startswith("no template lists the options")
    text = text.replace('True?"', 'Yes or no?"')
    assert lint(write_card(tmp_path, "mine/nli/toy", text)) == []


def test_options_that_are_listed_twice(tmp_path: Path) -> None:
    text = card(add='"{premise} Is it {choices}: {hypothesis}\\n{options}"')
    problems = lint(write_card(tmp_path, "mine/nli/toy", text))
    assert [p.message for p in problems if p.template == 0] == [
        "its input lists the options twice: {options} and {choices}"
    ]


def test_tasks_of_a_collection_may_have_as_many_templates_as_they_like(tmp_path: Path) -> None:
    write_card(tmp_path, "mine/nli/a")
    short = CARD.format(name="c").replace(f"  {FIRST}\n", "")
    write_card(tmp_path, "mine/nli/c", short)
    entries = Catalogue([tmp_path]).entries
    assert [lint_entry(entries[name]) for name in ("a", "c")] == [[], []]


def test_options_that_a_number_names_in_two_ways(tmp_path: Path) -> None:
    stars = CARD.format(name="toy").replace('["yes", "no"]', '["1", "2", "3"]')
    (problem,) = lint(write_card(tmp_path, "mine/nli/toy", stars))
    assert "may be the text or the number of one of ['1', '2', '3']: write" in problem.message
    assert "answer: {text: label}, {index: label} or {index: label, first: 1}" in problem.message
    for said in ("{text: label}", "{index: label}", "{index: label, first: 1}"):
        chosen = stars.replace("answer: label", f"answer: {said}")
        assert lint(write_card(tmp_path, "mine/nli/toy", chosen)) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{tasks: [toy, toi]}", "'toi'; did you mean 'toy'"),
        ("{tasks: [toy], cap: 0}", "cap is 0"),
        ("{tasks: [toy], temprature: 2}", "did you mean 'temperature'"),
        ("{tasks: [toy], rates: {other: 3}}", "no member of it"),
        ("{tasks: [toy], loss_weights: {tow: 3}}", "did you mean 'toy'"),
        ("{tasks: [toy], templates: [1, 7]}", "task 'toy' has no template 7"),
        ("{tasks: [toy], templates: [7]}", "has none of templates [7]"),
        ("{tasks: [mix]}", "holds itself"),
    ],
)
def test_a_mistake_in_a_mixture(tmp_path: Path, body: str, says: str) -> None:
    write_card(tmp_path, "mine/nli/toy")
    (tmp_path / "mine" / "mixtures.yaml").write_text(f"mix: {body}\ngood: {{tasks: [mine]}}\n")
    catalogue = Catalogue([tmp_path])
    assert lint_mixture("good", catalogue) == []
    (problem,) = lint_mixture("mix", catalogue)
    assert says in problem.message
    assert problem.task == "mix"


def test_a_broken_card_is_no_second_problem_of_its_mixtures(tmp_path: Path) -> None:
    write_card(tmp_path, "mine/nli/toy", "name: toy")
    (tmp_path / "mine" / "mixtures.yaml").write_text("mix: {tasks: [toy]}\n")
    assert lint_mixture("mix", Catalogue([tmp_path]), broken=["toy"]) == []
