"""What a vocabulary loses of templates: counted by character, and by pairs that become one."""

from dataclasses import replace
from pathlib import Path

import pytest

from flanmix.audit.vocabulary_loss import VocabularyLoss, option_problems, vocabulary_loss
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import load_vocabulary
from flanmix.registry.card import load_card
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template
from tests.registry.cards import write_card


@pytest.fixture
def spec(tmp_path: Path) -> TaskSpec:
    card = load_card(write_card(tmp_path, "mine/nli/toy"))
    texts = ["{premise}\n{hypothesis}?", "{premise} {hypothesis}?", "{hypothesis} {premise}?"]
    return replace(card, templates=tuple(Template(text) for text in texts))


@pytest.fixture
def t5_model(shared_data: Path) -> str:
    model = shared_data / "tokenizers" / "t5_32000.model"
    if not model.exists():
        pytest.skip(f"T5's vocabulary is not among the real data: {model.name}")
    return str(model)


@pytest.mark.parametrize("name", ["byte", "pocket"])
def test_a_vocabulary_that_holds_every_text_loses_nothing(spec: TaskSpec, name: str) -> None:
    assert vocabulary_loss(spec, load_vocabulary(name)) == VocabularyLoss("toy", 0.0, 0)


def test_t5_reads_line_breaks_as_spaces(spec: TaskSpec, t5_model: str) -> None:
    loss = vocabulary_loss(spec, load_vocabulary(t5_model))
    assert loss == VocabularyLoss("toy", 1 / 6, 1)  # own: a break, two spaces, three marks


def test_t5_does_not_know_braces(spec: TaskSpec, t5_model: str) -> None:
    templates = [Template(f"{{premise}} {a} {{hypothesis}}") for a in ("so {{", "so }}", "so")]
    loss = vocabulary_loss(replace(spec, templates=tuple(templates)), load_vocabulary(t5_model))
    assert loss.unknown_share == pytest.approx(2 / 16)
    assert loss.collapsed_pairs == 1


def test_no_templates_that_ship_become_the_same_for_t5(t5_model: str) -> None:
    catalogue, vocabulary = Catalogue([tasks_root()]), load_vocabulary(t5_model)
    losses = [vocabulary_loss(catalogue.task(name), vocabulary) for name in catalogue.names()]
    assert {loss.collapsed_pairs for loss in losses} == {0}
    assert max(loss.unknown_share for loss in losses) < 0.06


def test_a_vocabulary_that_holds_nothing(spec: TaskSpec) -> None:
    class Deaf:
        def encode(self, text: str) -> list[int]:
            return [2] * len(text)

        def decode(self, ids: list[int]) -> str:
            return "?" * len(ids)

    only = replace(spec, templates=(Template("{premise} a"), Template("{premise}\nb")))
    loss = vocabulary_loss(only, Deaf())
    assert (loss.unknown_share, loss.collapsed_pairs) == (1.0, 1)


FACES = ("\U0001f600", "\U0001f622", "none")


class Letters:
    """A vocabulary of letters; whatever else there is, is one unknown piece."""

    def encode(self, text: str) -> list[int]:
        return [ord(c) if c.isascii() and c.isalpha() else 2 for c in text]


def test_options_of_the_same_ids_are_a_problem(spec: TaskSpec) -> None:
    assert option_problems(spec, Letters()) == []
    (problem,) = option_problems(replace(spec, options=FACES), Letters())
    assert (problem.task, problem.template, problem.record) == ("toy", None, None)
    assert problem.message.startswith("options '\U0001f600' and '\U0001f622' are the same ids")


def test_options_are_looked_at_in_their_templates(spec: TaskSpec) -> None:
    class Short(Letters):
        def encode(self, text: str) -> list[int]:
            return super().encode(text)[:4]

    templates = (Template("{premise}"), Template("{hypothesis}", "it is {answer}"))
    short = replace(spec, templates=templates, options=("yes", "no"))
    (problem,) = option_problems(short, Short())
    assert "'yes' and 'no'" in problem.message
    assert option_problems(replace(short, templates=templates[:1]), Short()) == []


def test_options_of_each_record_are_looked_at_in_the_store(spec: TaskSpec, tmp_path: Path) -> None:
    own = replace(spec, options=(), option_fields=("a", "b"))
    store = Store(tmp_path / "store")
    fields = {"premise": "x", "hypothesis": "y"}
    options = [("yes", "no"), ("+", "-"), ("a b", "a\nb"), ("1", "one")]
    rows = [Record(f"train-{i}", fields, own[:1], own) for i, own in enumerate(options)]
    store.write(own, "train", rows)
    assert option_problems(own, Letters()) == []
    (problem,) = option_problems(own, Letters(), store)
    assert problem.record == "train-1"
    assert problem.message.startswith("options '+' and '-' are the same ids")
    assert problem.message.endswith("so it is in 2 of 4 train records")


def test_no_options_that_ship_become_the_same_for_t5(t5_model: str) -> None:
    catalogue, vocabulary = Catalogue([tasks_root()]), load_vocabulary(t5_model)
    found = [
        p for name in catalogue.names() for p in option_problems(catalogue.task(name), vocabulary)
    ]
    assert found == []
