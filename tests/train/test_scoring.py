"""What a run evaluates, when, and what it says of what a model was not shown whole."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from flanmix.data.store.store import Store
from flanmix.errors import UserError
from flanmix.evaluate.evaluator import eval_tasks, evaluate
from flanmix.evaluate.scores import read_step, scored_steps, write_scores
from flanmix.model.t5 import T5Config
from flanmix.registry.card import load_card
from flanmix.registry.record import Record
from flanmix.train import scoring
from flanmix.train.scoring import EvalRunner, asked_tasks, configured_tasks, say_losses
from flanmix.train.settings import DataConfig, Evaluation, Run, TrainConfig
from flanmix.verbs import evaluate as evaluate_verb
from flanmix.verbs import gin_config
from tests.evaluate.collection import Oracle, mixture, prepare

CARD = """
name: {name}
version: 1
kind: generation
source: {{jsonl: "."}}
splits: {splits}
fields: {{text: text}}
answer: answer
templates:
  - inputs: "Say {{text}}"
  - {{inputs: "What says {{answer}}?", targets: "{{text}}", inverted: true}}
metrics: [exact_match]
"""
SPLITS = {
    "whole": '{train: "r.jsonl", validation: "v.jsonl", test: "t.jsonl"}',
    "valid": '{train: "r.jsonl", validation: "v.jsonl"}',
    "bare": '{train: "r.jsonl"}',
    "held": '{test: "t.jsonl"}',
    "absent": '{train: "r.jsonl", test: "t.jsonl"}',
}
OWN = Evaluation()
MIXTURES = """
all: {tasks: [whole, valid, bare, held]}
more: {tasks: [all, absent]}
turned: {tasks: [whole], templates: [1]}
untested: {tasks: [bare]}
shots: {tasks: [whole, valid], few_shot: 2, few_shot_share: 0.5}
within: {tasks: [bare, shots]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Cards, mixtures and a store of 150 records a split."""
    root = tmp_path_factory.mktemp("scored")
    store = Store(root / "store")
    for name, splits in SPLITS.items():
        path = root / "tasks" / "mine" / "talk" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CARD.format(name=name, splits=splits))
        spec = load_card(path)
        for split in spec.splits if name != "absent" else ():
            rows = [Record(f"{split}-{i}", {"text": str(i)}, (str(i),)) for i in range(150)]
            store.write(spec, split, rows)
    (root / "tasks" / "mine" / "mixtures.yaml").write_text(MIXTURES)
    return root


@pytest.fixture
def chosen(folder, monkeypatch, caplog):
    """What a training run, or the verb where `trained` is given, would score; and what is said."""
    monkeypatch.setenv("FLANMIX_TASKS", str(folder / "tasks"))
    caplog.set_level(logging.INFO, "flanmix")

    def run(mixture, evaluation=OWN, allow_missing=False, **trained):
        data = DataConfig(str(folder / "store"), mixture, 4, 32, 8, allow_missing=allow_missing)
        store = Store(folder / "store")
        choose = asked_tasks if trained else configured_tasks
        tasks = choose(data, evaluation, store, **trained)
        return {task.spec.name: (task.split, task.limit) for task in tasks}, caplog.messages

    return run


def test_a_run_without_groups_trains_and_is_scored_on_its_own_mixture(chosen):
    tasks, said = chosen("all")
    assert tasks == {"whole": ("test", 100), "valid": ("validation", 100), "held": ("test", 100)}
    assert said == [
        "no Evaluation.groups: evaluates its own mixture, 3 of 4 tasks, at most 100 records of each"
    ]


@pytest.mark.parametrize("name", ["turned", "untested"])
def test_a_run_that_has_nothing_to_score_says_so_and_trains(chosen, name):
    tasks, said = chosen(name)
    assert tasks == {}
    assert said == [
        "no Evaluation.groups, and no task of the mixture has test records: not evaluated"
    ]


def test_settings_hold_for_the_own_mixture(chosen):
    assert chosen("all", Evaluation(examples=7))[0]["whole"] == ("test", 7)
    assert chosen("more", allow_missing=True)[0].keys() == {"whole", "valid", "held"}
    tasks, said = chosen("all", Evaluation(groups={}))
    assert tasks == {}
    assert len(said) == 2  # nothing more


def test_groups_are_scored_as_they_are_named(chosen):
    assert chosen("all", Evaluation(groups={"x": "held"}))[0] == {"held": ("test", None)}
    with pytest.raises(UserError, match=r"of absent in store .*; Evaluation.groups=None evaluates"):
        chosen("all", Evaluation(groups={"x": "absent"}))


@pytest.mark.parametrize("name", ["shots", "within"])
def test_exemplars_of_the_own_mixture_are_left_out_and_said(chosen, name):
    tasks, said = chosen(name)
    assert set(tasks) == {"whole", "valid"}
    assert said[-1].endswith("at most 100 records of each, without exemplars")
    tasks, said = chosen(name, trained=name)
    assert set(tasks) == {"whole", "valid"}
    assert f"mixture '{name}' shows exemplars in training; it is scored without them" in said


@pytest.mark.parametrize("name", ["shots", "within"])
@pytest.mark.parametrize("trained", [{}, {"trained": "all"}, {"trained": None}])
def test_exemplars_that_are_asked_for_are_refused(chosen, name, trained):
    with pytest.raises(UserError, match=rf"mixture '{name}' shows 2 exemplars \(few_shot\)"):
        chosen("all", Evaluation(groups={"x": "held", "y": name}), **trained)
    if trained:
        with pytest.raises(UserError, match="can't show any yet: name a mixture without few_shot"):
            chosen(name, **trained)


def test_the_verb_scores_all_records_and_wants_them_all(chosen):
    tasks, said = chosen("all", trained="all")
    assert tasks == {"whole": ("test", None), "valid": ("validation", None), "held": ("test", None)}
    assert said == ["without records or templates that are scored: bare"]
    with pytest.raises(UserError, match="no records to evaluate of absent"):
        chosen("more", trained="more")
    assert "absent" in chosen("more", allow_missing=True, trained="more")[0]
    with pytest.raises(UserError, match="mixture 'turned' has nothing to score"):
        chosen("turned", trained="all")


def test_the_recipe_for_a_mixture_of_ones_own_scores_it():
    flags = ["MIXTURE=rainy_days", "RUN_DIR=runs/rain"]
    run = gin_config.load(["gin/recipes/tiny.gin"], flags, [])
    assert (run.data.mixture, run.evaluation.groups) == ("rainy_days", None)


# ---- in training -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("store"))


@pytest.fixture
def runner(store, tmp_path, monkeypatch):
    """Makes the evaluations of a run of six steps, whose model knows every answer."""

    def oracle(run, model, vocabulary, tasks, store, step, check, *, chat):
        return evaluate(Oracle(), tasks, store, step=step)

    monkeypatch.setattr(scoring, "score_model", oracle)

    def make(groups, limit=None, every=0):
        data = DataConfig(str(store.root), "any", 4, 32, 8)
        run = Run(
            str(tmp_path),
            T5Config(vocab_size=128),
            data=data,
            train=TrainConfig(steps=6),
            evaluation=Evaluation({name: name for name in groups}, every, limit),
        )
        tasks = eval_tasks(
            {name: mixture(name, members) for name, members in groups.items()}, limit
        )
        return EvalRunner(run, tasks, store, None, None)

    return make


def test_an_evaluation_is_due_until_it_is_there(runner):
    runs = runner({"a": ["own"]}, every=4)
    assert [step for step in range(8) if runs.due(step)] == [4, 6]
    assert runs.score(None, 4) == 100.0
    assert [step for step in range(8) if runs.due(step)] == [6]
    assert runs.mean(4) == 100.0
    assert runs.mean(6) is None
    assert not any(map(runner({}).due, range(8)))


@pytest.mark.parametrize(
    ("groups", "limit"), [({"b": ["fixed"]}, None), ({"a": ["fixed"]}, None), ({"a": ["own"]}, 5)]
)
def test_a_finished_run_scores_what_it_has_not(runner, tmp_path, groups, limit):
    runner({"a": ["own"]}).score(None, 6)
    runs = runner(groups, limit)
    assert runs.due(6)
    runs.score(None, 6)
    assert not runs.due(6)
    found = read_step(tmp_path, 6)["groups"]
    for name, members in groups.items():
        assert set(found[name]["tasks"]) == set(members)
    assert set(found) == set(groups)


def test_scores_of_steps_that_are_taken_again_go(runner, tmp_path):
    runs = runner({"a": ["own"]})
    for step in (2, 4):
        runs.score(None, step)
    runs.drop_scores_after(2)
    assert scored_steps(tmp_path) == [2]
    (events,) = (tmp_path / "eval").iterdir()
    assert events.read_bytes().count(b"score/group/a") == 1
    runs.drop_scores_after(0)
    assert scored_steps(tmp_path) == []


# ---- what is said ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({}, []),
        ({"own": {"trimmed": 100.0}}, ["inputs were cut in 1 of 2 tasks, worst in 100% of the"]),
        (
            {"own": {"trimmed": 20.0}, "fixed": {"trimmed": 33.3}},
            ["inputs were cut in 2 of 2 tasks, worst in 33.3% of the questions of task 'fixed': "
             "INPUTS_LENGTH is 32"],
        ),
        ({"own": {"trimmed": 99.98}}, ["worst in 99.98% of the questions of task 'own'"]),
        ({"own": {"targets_trimmed": 1.0}}, ["task 'own': TARGETS_LENGTH is 8"]),
        ({"own": {"equal_options": 1.0}}, ["options were the same tokens in 1 of 2 tasks"]),
    ],
)  # fmt: skip
def test_what_was_lost_is_a_line_that_names_the_worst_task(store, caplog, shares, says):
    scores = evaluate(Oracle(), eval_tasks({"all": mixture("all", ["own", "fixed"])}), store)
    tasks = {name: replace(task, **shares.get(name, {})) for name, task in scores.tasks.items()}
    say_losses(replace(scores, tasks=tasks), DataConfig("s", "m", 4, 32, 8))
    assert len(caplog.messages) == len(says)
    for message, wanted in zip(caplog.messages, says, strict=True):
        assert wanted in message


def test_it_is_said_once_in_a_training(runner, monkeypatch, caplog):
    runs = runner({"a": ["own"]})
    real = scoring.score_model

    def cut(*arguments, **options):
        scores = real(*arguments, **options)
        tasks = {name: replace(task, trimmed=50.0) for name, task in scores.tasks.items()}
        return replace(scores, tasks=tasks)

    monkeypatch.setattr(scoring, "score_model", cut)
    for step in (2, 4, 6):
        runs.score(None, step)
    assert [message for message in caplog.messages if "inputs were cut" in message] == [
        "inputs were cut in 50% of the questions of task 'own': INPUTS_LENGTH is 32"
    ]


def test_scores_of_before_are_kept_by_groups(runner, store, tmp_path):
    tasks = eval_tasks({"a": mixture("a", ["own"])})
    write_scores(tmp_path, evaluate(Oracle([0, 1]), tasks, store, step=0))
    assert runner({"a": ["own"]}).done(0)
    assert not runner({"b": ["own"]}).done(0)


# ---- kept --------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False])
def test_scores_are_kept_with_the_run_whose_checkpoint_it_is(store, tmp_path, caplog, own):
    caplog.set_level(logging.INFO, "flanmix")
    data = DataConfig(str(store.root), "any", 4, 32, 8)
    run = Run(str(tmp_path / "run"), T5Config(vocab_size=128), data=data)
    (tmp_path / "run" / ("checkpoints" if own else "params")).mkdir(parents=True)
    scores = evaluate(Oracle(), eval_tasks({"a": mixture("a", ["own"])}), store, step=3)
    evaluate_verb._keep(run, scores)
    assert scored_steps(run.folder) == ([3] if own else [])
    assert (run.folder / "report.html").exists() == own
    assert ("not kept: the checkpoint is none of RUN_DIR" in caplog.messages[-1]) == (not own)
