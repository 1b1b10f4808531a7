"""Going on with something else: other settings need a yes, other data are refused, all is said."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from flanmix import cli
from flanmix.errors import UserError
from flanmix.learn.integrity import with_digest
from flanmix.learn.loss import CrossEntropy
from flanmix.learn.optimizer import Adafactor
from flanmix.learn.schedule import Schedule
from flanmix.model.api import Compute
from flanmix.model.t5 import T5Config
from flanmix.train import changes as module
from flanmix.train.changes import _text_settings, changed, confirm, settings_of
from flanmix.train.settings import (
    CheckpointConfig,
    DataConfig,
    Evaluation,
    Run,
    TrainConfig,
    gin_name,
)
from flanmix.verbs import gin_config
from tests.train.training import one_error

RUN = Run(
    run_dir="runs/a",
    model=T5Config(vocab_size=384, d_model=16),
    data=DataConfig(
        store="store", mixture="tiny", batch_size=4, inputs_length=48, targets_length=16
    ),
    train=TrainConfig(steps=10, schedule=Schedule(kind="cosine", rate=0.01, steps=10)),
)


def with_steps(steps, schedule=None):
    schedule = schedule or replace(RUN.train.schedule, steps=steps)
    return replace(RUN, train=replace(RUN.train, steps=steps, schedule=schedule))


def going_on(now, step, before=RUN):
    return changed({"settings": settings_of(before)}, now, step)


def test_a_cosine_that_is_stretched_says_where_the_rate_jumps_and_needs_a_yes(monkeypatch):
    longer = with_steps(20)
    changes = going_on(longer, step=10)
    jump = "the learning rate was 0.000245 at step 10 and is 0.005 at step 11"
    assert [(str(c), c.needs_yes) for c in changes] == [
        ("STEPS: 10 -> 20", False),
        (f"Schedule.steps: 10 -> 20 ({jump})", True),
    ]
    with pytest.raises(UserError, match=r"step 10 with other settings: Schedule.steps.*ALLOW_CH"):
        confirm(changes, longer, step=10)
    said = []
    monkeypatch.setattr(module, "say", said.append)
    confirm(changes, replace(longer, checkpoints=CheckpointConfig(allow_changes=True)), step=10)
    assert said == [f"after step 10: STEPS: 10 -> 20; Schedule.steps: 10 -> 20 ({jump})"]


@pytest.mark.parametrize(
    "schedule",
    [Schedule(), Schedule(warmup=4, steps=10), Schedule(kind="rsqrt", rate=1.0, warmup=100)],
    ids=["constant", "warmup", "rsqrt"],
)
def test_more_steps_of_a_rate_that_stays_need_no_yes(schedule):
    before = with_steps(10, schedule)
    longer = with_steps(20, replace(schedule, steps=20 if schedule.steps else None))
    assert not any(change.needs_yes for change in going_on(longer, 10, before))


def test_a_schedule_that_bends_only_later_needs_a_yes_too():
    slow = Schedule(kind="linear", rate=0.01, warmup=8, steps=10)
    before = with_steps(10, slow)
    changes = going_on(with_steps(20, replace(slow, steps=20)), 4, before)
    assert [c.name for c in changes if c.needs_yes] == ["Schedule.steps"]


@pytest.mark.parametrize(
    ("now", "name"),
    [
        (replace(RUN, evaluation=Evaluation(groups={"a": "tiny"})), "Evaluation.groups"),
        (replace(RUN, evaluation=Evaluation(examples=5)), "Evaluation.examples"),
        (replace(RUN, train=replace(RUN.train, loss=CrossEntropy(z_loss=0.5))), "CrossEntropy."),
        (replace(RUN, train=replace(RUN.train, trainable="decoder/.*")), "TrainConfig.trainable"),
    ],
)
def test_evaluation_is_free_once_nothing_is_trained_any_more(now, name):
    for step in (9, 10):
        (change,) = going_on(now, step)
        assert change.name.startswith(name)
        assert change.needs_yes is (step == 9 or not name.startswith("Evaluation"))


@pytest.mark.parametrize("recipe", ["quickstart", "real_small"])
def test_the_text_that_older_records_hold_has_the_same_values(recipe):
    run = gin_config.load([f"gin/recipes/{recipe}.gin"], ["RUN_DIR=a", "STORE=s"], [])
    now, read = settings_of(run), _text_settings(gin_config.operative())
    assert {name: read[name] for name in now if name in read} == {
        name: value for name, value in now.items() if name in read
    }
    assert {"Schedule.rate", "TrainConfig.optimizer", "CrossEntropy.z_loss"} <= set(read)
    assert {"T5Config.dropout_rate", "Compute.dtype", "Evaluation.groups"} <= set(read)
    assert changed({"configuration": gin_config.operative()}, run, 5) == []


RATE = gin_name(Schedule(), "rate")
OTHER = [
    (Schedule(), "rate", 0.001, 0.01),
    (Schedule(), "warmup", 0, 3),
    (RUN.model, "dropout_rate", 0.1, 0.3),
    (CrossEntropy(), "label_smoothing", 0.0, 0.1),
    (CrossEntropy(), "z_loss", 0.0001, 0.0),
    (Compute(), "dtype", "float32", "bfloat16"),
    (Evaluation(), "selection", 0, 3),
    (Adafactor(), "decay_rate", 0.8, 0.7),
]


@pytest.mark.parametrize(("config", "field", "old", "new"), OTHER, ids=lambda x: str(x)[:20])
def test_other_settings_are_listed_and_refused_without_a_yes(
    straight, workplace, train, config, field, old, new
):
    name = gin_name(config, field)
    file = workplace.folder / "straight" / "config.gin"
    before = file.read_text()
    code, said = train("straight", "STEPS=8", f"{name}={new}")
    assert code == 2
    assert "came to step 6 with other settings: " in one_error(said)
    assert file.read_text() == before
    assert f"{name}: {old!r} -> {new!r}" in one_error(said)
    assert "or go on with --gin.ALLOW_CHANGES=True" in one_error(said)


def copied(workplace, name):
    shutil.copytree(workplace.folder / "straight", workplace.folder / name)
    return workplace.folder / name


def test_with_a_yes_the_run_goes_on_and_keeps_both_configurations(straight, workplace, train):
    folder = copied(workplace, "changed")
    before = (folder / "config.gin").read_text()
    more = ("STEPS=7", "Schedule.rate=0.01", "CrossEntropy.z_loss=0.0")
    code, said = train("changed", *more, "ALLOW_CHANGES=True")
    assert code == 0, said.err
    assert f"after step 6: STEPS: 6 -> 7; {RATE}: 0.001 -> 0.01 (" in said.err
    assert "CrossEntropy.z_loss: 0.0001 -> 0.0" in said.err
    assert (folder / "config.6.gin").read_text() == before
    now = (folder / "config.gin").read_text()
    assert f"{RATE} = 0.01" in now
    assert not re.search("allow_changes", now, re.IGNORECASE)  # a yes is for one start
    assert workplace.lines("changed")[-1]["learning_rate"] == pytest.approx(0.01)
    code, said = train("changed", *more)
    assert code == 0 and "after step" not in said.err


def test_what_changes_no_figure_needs_no_yes(straight, workplace, train):
    copied(workplace, "free")
    free = ("CHECKPOINT_EVERY=1", "EVAL_EVERY=3", "MICROBATCHES=2", "Compute.remat=full")
    code, said = train("free", "STEPS=7", *free, "INITIALIZE_FROM=elsewhere")
    assert code == 0, said.err
    assert "INITIALIZE_FROM: None -> 'elsewhere' (not read: the run goes on from its" in said.err


def test_a_run_that_an_older_flanmix_left_goes_on_and_is_compared_by_its_text(
    straight, workplace, train
):
    folder = copied(workplace, "older")
    document = json.loads((folder / "checkpoints" / "6" / "run" / "metadata").read_text())
    run = document["run"]
    del run["settings"]
    for task in run["tasks"].values():
        for key in ("data_fingerprint", "template_texts", "metrics", "sha256"):
            del task[key]
    del document["digest"]
    text = json.dumps(with_digest(document))
    (folder / "checkpoints" / "6" / "run" / "metadata").write_text(text)
    code, said = train("older", "STEPS=8", "Schedule.rate=0.01")
    assert code == 2 and f"{RATE}: 0.001 -> 0.01" in one_error(said)
    code, said = train("older", "STEPS=7")
    assert code == 0 and "going on from step 6" in said.err


# ---- data --------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(workplace, straight, tmp_path, monkeypatch):
    """The tasks and the store once more, to be changed; returns what the cards' text becomes."""
    shutil.copytree(workplace.folder / "tasks", tmp_path / "tasks")
    shutil.copytree(workplace.folder / "store", tmp_path / "store")
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path / "tasks"))
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_other_records_of_the_same_count_are_refused(workplace, elsewhere, train, capfd):
    rows = elsewhere / "tasks" / "tiny" / "letters" / "shout.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    store = f"STORE={elsewhere / 'store'}"
    assert cli.main(["prepare", "tiny", "--store", str(elsewhere / "store")]) == 0
    code, said = train("straight", "STEPS=8", store)
    assert code == 2
    assert "of task 'shout', the prepared records of split 'train' were others" in one_error(said)
    assert "choose another RUN_DIR" in one_error(said)


def test_another_metric_or_test_record_is_said_and_goes_on(workplace, elsewhere, train):
    copied(workplace, "metric")
    place = elsewhere / "tasks" / "tiny" / "letters"
    edit(place / "shout.yaml", "metrics: [exact_match]", "metrics: [exact_match, rouge]")
    lines = (place / "first.jsonl").read_text().splitlines()
    (place / "first.jsonl").write_text("\n".join([*lines[:-2], lines[-1], lines[-2]]) + "\n")
    assert cli.main(["prepare", "tiny", "--store", str(elsewhere / "store")]) == 0
    code, said = train("metric", "STEPS=7", f"STORE={elsewhere / 'store'}")
    assert code == 0, said.err
    assert "task 'shout': metrics were ['exact_match'] and are ['exact_match', 'rouge']" in said.err
    assert "task 'first': the prepared records of split 'test', which is scored, were" in said.err


def test_a_template_that_reads_otherwise_is_named(workplace, elsewhere, train):
    card = elsewhere / "tasks" / "tiny" / "letters" / "shout.yaml"
    edit(card, "Please. Shout", "Please! Shout")
    code, said = train("straight", "STEPS=8", f"STORE={elsewhere / 'store'}")
    assert code == 2
    assert "of task 'shout', template 2 had another text" in one_error(said)


# ---- evaluation --------------------------------------------------------------------------------


def test_a_finished_run_is_evaluated_again_when_its_evaluation_is_another(
    straight, workplace, train
):
    folder = copied(workplace, "evaluated")
    first = ("Evaluation.groups={'a': 'shout'}", "Evaluation.examples=3", "Evaluation.before=True")
    assert train("evaluated", *first)[0] == 0
    path = folder / "scores.json"
    scores = json.loads(path.read_text())
    assert set(scores["groups"]) == {"a"} and set(scores["before"]) == {"a", "majority"}
    stamp = (folder / "scores" / "000000006.json").stat().st_mtime_ns
    assert train("evaluated", *first)[0] == 0
    assert (folder / "scores" / "000000006.json").stat().st_mtime_ns == stamp  # not made again

    code, said = train("evaluated", "Evaluation.groups={'b': 'first'}", "Evaluation.examples=2")
    assert code == 0, said.err
    scores = json.loads(path.read_text())
    assert set(scores["groups"]) == {"b"} and set(scores["tasks"]) == {"first"}
    assert "before" not in scores  # those are of group a
    assert scores["details"]["first"]["examples"] == 2
    assert "Evaluation.groups = {'b': 'first'}" in (folder / "config.gin").read_text()
    code, _ = train("evaluated", "Evaluation.groups={'b': 'first'}", "Evaluation.examples=4")
    assert json.loads(path.read_text())["details"]["first"]["examples"] == 4


def test_scores_of_an_earlier_form_are_known_by_what_they_list(straight, workplace, train):
    folder = copied(workplace, "listed")
    first = ("Evaluation.groups={'a': 'shout'}", "Evaluation.examples=3")
    assert train("listed", *first)[0] == 0
    path = folder / "scores" / "000000006.json"
    scores = json.loads(path.read_text())
    del scores["evaluation"]
    path.write_text(json.dumps(scores))
    assert train("listed", *first)[0] == 0
    assert "evaluation" not in json.loads(path.read_text())
    assert train("listed", first[0], "Evaluation.examples=4")[0] == 0
    assert json.loads(path.read_text())["details"]["shout"]["examples"] == 4
