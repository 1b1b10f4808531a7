"""A run says once, when it starts, what its lengths truncate, and keeps it."""

import json

import pytest

from flanmix.data.loader import Loader, LoaderConfig
from flanmix.data.tokens import Lengths
from flanmix.data.truncation import Measured, sample_size, truncation_line
from flanmix.data.vocabulary import ByteVocabulary
from flanmix.registry.mixture import resolve
from flanmix.train.data import Data
from flanmix.train.truncated import say_truncation
from tests.audit.small_collection import make
from tests.train.training import Workplace


@pytest.mark.parametrize(("inputs", "targets", "said"), [(60, 20, True), (600, 300, False)])
def test_what_is_truncated_is_one_line_and_a_file(tmp_path, monkeypatch, inputs, targets, said):
    catalogue, store = make(tmp_path)
    mixture = resolve(catalogue.mixture("all"), catalogue, lambda t: store.count(t, "train"))
    config = LoaderConfig(4, inputs, targets)
    loader = Loader(config, mixture, store, ByteVocabulary())
    lines: list[str] = []
    monkeypatch.setattr("flanmix.train.truncated.say", lines.append)
    say_truncation(tmp_path, Data(mixture, (), store, ByteVocabulary(), loader), config)
    loader.close()
    assert len(lines) == said
    if said:
        assert lines[0].startswith("truncated at INPUTS_LENGTH=60, TARGETS_LENGTH=20: 2")
        assert "of its inputs and 100% of its targets), passage (100% of its inputs)" in lines[0]
    found = json.loads((tmp_path / "truncation.json").read_text())
    assert (found["inputs_length"], found["targets_length"], found["sample"]) == (
        inputs,
        targets,
        64,
    )
    assert found["tasks"]["passage"] == {"inputs": float(said), "targets": 0.0}
    assert (found["inputs"] > 0.2) == said


def test_the_sample_is_bounded():
    assert [sample_size(tasks) for tasks in (1, 70, 128, 1024, 10_000)] == [64, 64, 64, 8, 4]


def test_the_worst_three_are_named():
    cut = {f"t{i}": Measured(9, 1, 1, i / 10, 0.05 * (i > 3), 0, 1, None) for i in range(6)}
    line = truncation_line(cut, [1 / 6] * 6, Lengths(8, 4))
    assert line == (
        "truncated at INPUTS_LENGTH=8, TARGETS_LENGTH=4: 25.0% of the inputs and 1.7% of the "
        "targets, most of all t5 (50% of its inputs and 5% of its targets), "
        "t4 (40% of its inputs and 5% of its targets), t3 (30% of its inputs) and 2 more tasks"
    )
    assert truncation_line({"t0": cut["t0"]}, [1.0], Lengths(8, 4)) is None


def test_train_says_it(workplace: Workplace):
    gin = ["STEPS=1", "INPUTS_LENGTH=8", "TARGETS_LENGTH=4"]
    done = workplace.train("truncated", *gin)
    lines = [line for line in done.stderr.splitlines() if "truncated at INPUTS_LENGTH=8" in line]
    assert len(lines) == 1
    run = workplace.folder / "truncated"
    found = json.loads((run / "truncation.json").read_text())
    assert set(found["tasks"]) == {"repeat", "shout", "first"}
    card = workplace.flanmix("mixture", "tiny", f"--gin_file={run / 'config.gin'}", "--json")
    document = json.loads(card.stdout)
    assert document["reading"]["inputs_length"] == 8
    assert document["vocabulary"] == "byte"
    assert document["inputs_truncated"] == pytest.approx(found["inputs"], abs=0.01)
