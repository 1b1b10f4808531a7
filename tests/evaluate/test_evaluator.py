"""The evaluator: the oracle scores 100, and what is scored is what was asked for."""

import dataclasses
import json

import numpy as np
import pytest

from flanmix.data.store.store import Store
from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import ByteVocabulary
from flanmix.errors import UserError
from flanmix.evaluate import predictor as predictor_module
from flanmix.evaluate.decode import Generated
from flanmix.evaluate.evaluator import EvalTask, eval_tasks, evaluate
from flanmix.evaluate.predictor import ModelPredictor
from flanmix.evaluate.rank import OptionScores
from flanmix.evaluate.scores import read_scores, write_scores
from flanmix.registry.record import Record
from tests.evaluate.collection import SPECS, Oracle, mixture, prepare
from tests.evaluate.models import ARCHITECTURES, tiny_model


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("store"))


def all_tasks(limit=None):
    return eval_tasks({"all": mixture("all", SPECS)}, limit)


def test_the_oracle_scores_100_on_every_metric(store):
    scores = evaluate(Oracle(), all_tasks(), store, selection=5)
    document = scores.to_json()
    for figures in document["tasks"].values():
        for key, value in figures.items():
            assert value == pytest.approx(0.0 if key.endswith("_edit") else 100.0)
    assert document["mean"] == pytest.approx(100.0)
    assert document["clusters"] == pytest.approx({"choosing": 100.0, "telling": 100.0})
    assert document["groups"]["all"]["accuracy"] == 100.0
    assert json.loads(json.dumps(document)) == document


def test_every_template_counts_by_itself(store):
    oracle = Oracle(wrong=[1])
    scores = evaluate(oracle, all_tasks(), store, selection=200)
    own = scores.to_json()["details"]["own"]
    assert own["templates"]["0"]["accuracy"] == 100.0
    assert own["templates"]["1"] == {"accuracy": 0.0, "accuracy_normalized": 100.0}
    assert scores.tasks["own"].mean()["accuracy"] == 50.0
    assert own["best"] == {
        "template": 0,
        "validation": 100.0,
        "metrics": {"accuracy": 100.0, "accuracy_normalized": 100.0},
    }
    several = scores.tasks["several"]
    assert several.mean()["em"] == pytest.approx(200 / 3)
    assert several.median()["em"] == 100.0
    assert {pair.template for pair in oracle.asked if pair.task == "fixed"} == {0, 1}
    # Template 1 shows an optional field, and only those records that have it can be asked so.
    notes = [p for p in oracle.asked if p.task == "several" and p.template == 1]
    assert len(notes) == 16


def test_groups_look_at_their_own_templates(store):
    groups = {
        "seen_templates": mixture("train", ["fixed", "copied"], [0]),
        "unseen_templates": mixture("new", ["fixed", "copied"], [1]),
        "unseen_tasks": mixture("held", ["own"]),
    }
    tasks = eval_tasks(groups)
    assert [(t.spec.name, t.templates) for t in tasks] == [
        ("copied", (0, 1)),
        ("fixed", (0, 1)),
        ("own", (0, 1)),
    ]
    scores = evaluate(Oracle(wrong=[1]), tasks, store)
    assert scores.summary() == pytest.approx(
        {
            "seen_templates": 100.0,
            "unseen_templates": 0.0,
            "unseen_tasks": 50.0,
            "majority": (scores.tasks["fixed"].baseline["accuracy"] + 100 * 2 / 3) / 2,
        }
    )
    assert scores.group("seen_templates")["tasks"]["copied"]["rougeLsum"] == pytest.approx(100.0)
    assert scores.tasks["fixed"].mean()["accuracy"] == 50.0


@pytest.mark.parametrize(
    ("trained", "seen"),
    [
        (None, {"fixed": "unknown", "copied": "unknown"}),
        ({}, {"fixed": "neither", "copied": "neither"}),
        ({"fixed": "{cluster}"}, {"fixed": "task", "copied": "cluster"}),
        ({"gone": "elsewhere"}, {"fixed": "neither", "copied": "neither"}),
    ],
)
def test_scores_say_what_the_model_was_trained_on(store, trained, seen):
    members = mixture("train", ["fixed", "copied"])
    cluster = members.tasks[0].spec.cluster
    if trained is not None:
        trained = {name: place.format(cluster=cluster) for name, place in trained.items()}
    scores = evaluate(Oracle(), eval_tasks({"all": members}, trained=trained), store)
    assert {name: scores.tasks[name].seen for name in seen} == seen
    assert scores.to_json()["details"]["fixed"]["seen"] == seen["fixed"]


def test_baselines_are_the_majority_and_the_copied_field(store):
    scores = evaluate(Oracle(), all_tasks(), store)
    assert scores.tasks["fixed"].baseline["accuracy"] == 50.0
    # Of every three records the right option is the first once and the second twice.
    assert scores.tasks["own"].baseline["accuracy"] == pytest.approx(100 * 2 / 3)
    assert scores.tasks["copied"].baseline["rougeLsum"] == pytest.approx(100.0)
    assert scores.tasks["several"].baseline["em"] == 0.0


def test_a_limit_draws_the_same_records_for_every_template(store):
    oracle = Oracle()
    evaluate(oracle, all_tasks(limit=5), store)
    by_template = {
        t: [p.record for p in oracle.asked if p.task == "own" and p.template == t] for t in (0, 1)
    }
    assert by_template[0] == by_template[1]
    assert len(set(by_template[0])) == 5
    again = Oracle()
    evaluate(again, all_tasks(limit=5), store)
    assert [p.record for p in again.asked] == [p.record for p in oracle.asked]


def test_a_missing_task_is_one_line_or_listed(store):
    lost = dataclasses.replace(SPECS["own"], name="lost")
    tasks = [EvalTask(lost, (0,)), EvalTask(SPECS["own"], (0,))]
    with pytest.raises(UserError, match=r"task 'lost' is not in store .*prepare lost"):
        evaluate(Oracle(), tasks, store)
    scores = evaluate(Oracle(), tasks, store, allow_missing=True)
    assert list(scores.tasks) == ["own"]
    assert scores.to_json()["missing"] == ["lost"]
    stale = dataclasses.replace(SPECS["own"], version=2)
    with pytest.raises(UserError, match="prepared from another version"):
        evaluate(Oracle(), [EvalTask(stale, (0,))], store, allow_missing=True)


def test_a_template_that_fits_none_of_the_records_has_no_score(tmp_path, caplog):
    several, store = SPECS["several"], Store(tmp_path)
    fields = {"text": "one two", "note": ""}
    for split in ("validation", "test"):
        store.write(several, split, [Record(f"{split}-{i}", fields, ("one",)) for i in range(3)])
    scores = evaluate(Oracle(), [EvalTask(several, (0, 1, 2))], store, selection=3)
    assert set(scores.tasks["several"].templates) == {0, 2}
    assert scores.tasks["several"].best.template == 0
    assert scores.tasks["several"].mean()["em"] == 100.0
    assert "task 'several': template 1 fits none of the 3 records" in caplog.messages[0]
    with pytest.raises(UserError, match="no template fits any of the 3 records that are scored"):
        evaluate(Oracle(), [EvalTask(several, (1,))], store)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="not inverted"):
        EvalTask(SPECS["fixed"], (0, 2))
    with pytest.raises(UserError, match="inverted, and those are not scored"):
        eval_tasks({"turned": mixture("turned", ["fixed"], [2])})
    unsplit = dataclasses.replace(SPECS["own"], splits={"train": "a.jsonl"})
    held = mixture("held", ["own"])
    held = dataclasses.replace(held, tasks=(dataclasses.replace(held.tasks[0], spec=unsplit),))
    with pytest.raises(UserError, match="neither a test nor a validation split"):
        eval_tasks({"held": held})


def test_samples_show_what_was_asked_and_answered(store):
    scores = evaluate(Oracle(), all_tasks(), store, num_samples=2)
    samples = [s for s in scores.samples if s.task == "own"]
    assert [sample.template for sample in samples] == [0, 1]
    assert samples[1].target == samples[1].output.join(["It is ", ""])
    assert samples[0].target in samples[0].inputs


def test_scores_are_written_with_before_and_after(store, tmp_path):
    tasks = eval_tasks({"seen": mixture("seen", ["own"])})
    after = evaluate(Oracle(), tasks, store, step=30)
    write_scores(tmp_path, evaluate(Oracle(wrong=[0, 1]), tasks, store, step=0))
    write_scores(tmp_path, evaluate(Oracle(wrong=[0]), tasks, store, step=30))
    write_scores(tmp_path, after)
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document["step"] == 30
    assert document["tasks"]["own"]["accuracy"] == 100.0
    assert document["before"] == {"seen": 0.0, "majority": pytest.approx(200 / 3)}
    assert document["after"] == {"seen": 100.0, "majority": pytest.approx(200 / 3)}
    write_scores(tmp_path, evaluate(Oracle(), tasks, store, step=9))
    assert [scores["step"] for scores in read_scores(tmp_path)] == [0, 30]
    (tmp_path / "scores" / "000000000.json").unlink()
    write_scores(tmp_path, after)
    assert "before" not in json.loads((tmp_path / "scores.json").read_text())
    assert not list(tmp_path.rglob("*.partial"))


def test_a_model_scores_the_same_whatever_the_batch_size(store):
    predictors = [
        ModelPredictor(
            tiny_model("encoder_decoder", 384), ByteVocabulary(), Lengths(256, 24), batch_size=size
        )
        for size in (2, 7)
    ]
    tasks = eval_tasks({"two": mixture("two", ["fixed", "several"])}, 3)
    results = [evaluate(predictor, tasks, store) for predictor in predictors]
    assert results[0].to_json() == results[1].to_json()
    assert results[0].tasks["fixed"].trimmed == 0.0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_inputs_that_are_cut_are_counted(store, monkeypatch, architecture):
    def first(model, questions, **settings):
        return [OptionScores(-np.arange(len(q)), np.ones(len(q))) for q in questions]

    monkeypatch.setattr(predictor_module, "rank", first)
    written = lambda _, prompts, **__: [[Generated(prompt)] for prompt in prompts]  # noqa: E731
    monkeypatch.setattr(predictor_module, "generate", written)
    tasks = eval_tasks({"two": mixture("two", ["fixed", "several"])}, 1)
    for length, trimmed in ((16, 100.0), (256, 0.0)):
        predictor = ModelPredictor(None, ByteVocabulary(), Lengths(length, 24, architecture))
        scores = evaluate(predictor, tasks, store)
        assert scores.tasks["fixed"].trimmed == trimmed
        assert scores.tasks["several"].trimmed == trimmed
