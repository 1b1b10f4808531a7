"""The card says what a run's loader yields: loss, truncation, records that wait, exemplars."""

import json
from pathlib import Path

import numpy as np
import pytest

from flanmix.audit.mixture_card import MixtureCard, Reading, make_card
from flanmix.data.examples import ExampleReader
from flanmix.data.loader import Loader, LoaderConfig
from flanmix.data.packing import most_pending
from flanmix.data.render import CUE
from flanmix.data.store.store import Store
from flanmix.data.streams import Stream
from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import ByteVocabulary
from flanmix.errors import UserError
from flanmix.pages.mixture import page
from flanmix.pages.text import mixture_text
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import Mixture, resolve
from tests.audit.small_collection import make
from tests.pages.reader import Page


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalogue, Store]:
    return make(tmp_path_factory.mktemp("small"))


def mixture_of(name: str, small: tuple[Catalogue, Store]) -> Mixture:
    catalogue, store = small
    return resolve(catalogue.mixture(name), catalogue, lambda task: store.count(task, "train"))


def card_of(name: str, small: tuple[Catalogue, Store], reading: Reading | None) -> MixtureCard:
    return make_card(name, *small, "byte", reading)


@pytest.mark.parametrize("architecture", ["encoder_decoder", "causal"])
@pytest.mark.parametrize(("inputs", "targets"), [(60, 20), (600, 300)])
def test_the_card_predicts_what_the_loader_yields(small, architecture, inputs, targets):
    card = card_of("all", small, Reading(inputs, targets, architecture, streams=4))
    config = LoaderConfig(4, inputs, targets, streams=4, architecture=architecture)
    loader = Loader(config, mixture_of("all", small), small[1], ByteVocabulary())
    loss, stats, warm_up = np.zeros(3), np.zeros(4), True
    while stats[0] < 2400:
        batch = next(loader)
        tasks, weights = batch["decoder_task_ids"], batch["decoder_loss_weights"]
        loss += np.bincount(tasks.reshape(-1), weights.reshape(-1), minlength=3)
        stats += batch["row_stats"].sum(axis=0)
        if warm_up and stats[0] > 600:  # until the pools hold as many long ones as they will
            loss, stats, warm_up = np.zeros(3), np.zeros(4), False
    loader.close()
    for row, share in zip(card.tasks, loss / loss.sum(), strict=True):
        assert row.share_of_loss == pytest.approx(share, abs=0.015)
    assert card.inputs_truncated == pytest.approx(stats[1] / stats[0], abs=0.02)
    assert card.targets_truncated == pytest.approx(stats[2] / stats[0], abs=0.02)
    whole = card_of("all", small, None)
    gist, gist_whole = card.tasks[1].share_of_loss, whole.tasks[1].share_of_loss
    assert gist is not None and gist_whole is not None
    assert (gist_whole - gist > 0.1) == (inputs == 60)
    assert (card.inputs_truncated == 0) == (inputs == 600)


def test_a_row_says_what_is_cut_and_what_is_left(small):
    brief, gist, passage = card_of("all", small, Reading(60, 20)).tasks
    assert (brief.inputs_truncated, brief.targets_truncated) == (0, 0)
    assert (gist.targets_truncated, gist.targets_kept) == (1, 20)
    assert (passage.inputs_truncated, passage.inputs_kept) == (1, 60)
    assert brief.inputs_kept == brief.inputs_tokens
    assert passage.inputs_tokens is not None and passage.inputs_tokens > 200
    assert card_of("all", small, None).tasks[1].targets_kept is None


def test_text_json_and_page_have_it(small):
    card = card_of("all", small, Reading(60, 20))
    text, shown = mixture_text(card), Page(page(card)).text
    assert "cut in %  cut out %" in text
    for output in (text, shown):
        assert "INPUTS_LENGTH=60 and TARGETS_LENGTH=20 leave (encoder_decoder): 2" in output
        assert "p to 1,008 drawn examples wait to be packed (16 streams)" in output
    assert "cut out %" in shown
    document = json.loads(json.dumps(card.to_json()))
    assert document["reading"]["inputs_length"] == 60
    assert document["tasks"][2]["inputs_truncated"] == 1
    assert document["waiting"] == most_pending(16)
    whole = mixture_text(card_of("all", small, None))
    assert "of whole texts: --gin_file, or --inputs_length and --targets_length" in whole
    assert "cut in" not in whole


def test_lengths_that_are_none_are_said(small):
    with pytest.raises(UserError, match="inputs_length is 1"):
        card_of("all", small, Reading(1, 20))


@pytest.mark.parametrize("inputs", [600, 900])
def test_what_one_epoch_may_leave_unseen_is_a_bound(small, inputs):
    """Counted as a run would: after as many examples as there are records."""
    bound = card_of("passage", small, Reading(inputs, 60, streams=1)).tasks[0].unseen_share
    mixture = mixture_of("passage", small)
    reader = ExampleReader(mixture, small[1], ByteVocabulary(), Lengths(inputs, 60))
    rows = iter(Stream(reader, 0, 1, True))
    seen: list[int] = []
    while len(seen) < reader.order.sizes[0]:
        next(rows)
        taken, *pending = rows.get_state()["stream"].tolist()
        handed_out = set(range(taken)) - set(pending)
        seen = [reader.order.sample(number).index for number in handed_out]
    unseen = 1 - len(set(seen)) / reader.order.sizes[0]
    assert bound is not None and 0 < unseen <= bound < 1


def test_unpacked_nothing_waits(small):
    card = card_of("all", small, Reading(60, 20, packed=False))
    assert card.waiting == 0
    assert {row.unseen_share for row in card.tasks} == {0}
    assert "wait to be packed" not in mixture_text(card)


def test_fewer_exemplars_than_asked_are_said(small):
    card = card_of("few", small, Reading(600, 300))
    alike, brief = card.tasks
    assert (alike.few_shot, alike.few_shot_share) == (3, 0.5)
    assert alike.fewer_exemplars == 1  # of three texts one is the query's
    assert brief.fewer_exemplars == 0
    assert "queries with fewer exemplars than few_shot, since" in mixture_text(card)
    assert "or fit: alike 100%" in mixture_text(card)
    shown = Page(page(card))
    assert "fewer %" in shown.texts
    # Where three do not fit, fewer are shown of the other task too.
    tight = card_of("few", small, Reading(100, 20)).tasks[1].fewer_exemplars
    mixture = mixture_of("few", small)
    reader = ExampleReader(mixture, small[1], ByteVocabulary(), Lengths(100, 20))
    texts = [ByteVocabulary().decode(e.inputs) for e in reader.read(range(1000)) if e.task == 1]
    counts = [text.count(CUE) - 1 for text in texts if CUE in text]
    assert tight == pytest.approx(np.mean([count < 3 for count in counts]), abs=0.1)
    assert tight is not None and tight > 0.5


def test_only_the_card_needs_a_store(tmp_path: Path, small):
    catalogue, _ = small
    card = make_card("all", catalogue, None, "byte")
    assert card.reading is None and card.inputs_truncated is None
