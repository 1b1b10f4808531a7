"""What a vocabulary loses of templates: counted by character, and by pairs that become one."""

from dataclasses import replace
from pathlib import Path

import pytest

from flanmix.audit.vocabulary_loss import VocabularyLoss, vocabulary_loss
from flanmix.data.vocabulary import load_vocabulary
from flanmix.registry.card import load_card
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
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
