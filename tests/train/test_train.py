"""The story of a run: what it leaves, how it goes on, what it refuses. In this process."""

import json
import shutil

import jax
import numpy as np
import pytest

from flanmix import cli
from flanmix.learn.checkpoint import open_checkpoint
from flanmix.model.sharding import make_mesh
from flanmix.verbs import gin_config as configuration
from tests.train.training import CARD, one_error

DECODER = [
    f"DecoderConfig.{field}"
    for field in ("vocab_size=384", "d_model=16", "d_ff=32", "num_heads=2", "num_kv_heads=2")
]


def params_of(workplace, run_dir, *gin):
    flags = [f"RUN_DIR={workplace.folder / run_dir}", "STORE=store", *gin]
    run = configuration.load(["tiny.gin"], flags, [])
    with jax.set_mesh(run.mesh.build()):
        return jax.device_get(open_checkpoint(run.folder).params)


def opened(folder):
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        return open_checkpoint(folder)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_run_leaves_what_the_command_line_page_promises(straight, workplace):
    assert [line["step"] for line in straight] == [1, 2, 3, 4, 5, 6]
    for line in straight:
        tasks = line["tasks"]
        assert line["target_tokens"] == sum(task["target_tokens"] for task in tasks.values())
        mean = sum(t["loss"] * t["target_tokens"] for t in tasks.values()) / line["target_tokens"]
        assert line["loss"] == pytest.approx(mean, rel=1e-6)
        assert 0 < line["encoder_fill"] <= 1 and 0 < line["decoder_fill"] <= 1
        assert line["examples"] > 4 and line["learning_rate"] > 0 and line["gradient_norm"] > 0
        assert set(line["epochs"]) == set(tasks)
    assert len({line["batch_hash"] for line in straight}) == 6
    folder = workplace.folder / "straight"
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["2", "4", "6"]
    assert list(folder.glob("events.out.tfevents.*"))
    record = opened(folder).run
    assert record["tasks"]["shout"]["version"] == 1 and opened(folder).step == 6
    assert record["configuration"] == (folder / "config.gin").read_text()


def test_the_configuration_that_a_run_leaves_makes_the_same_run(straight, workplace, train):
    shutil.copy(workplace.folder / "straight" / "config.gin", workplace.folder / "again.gin")
    again = f"--gin.RUN_DIR={workplace.folder / 'again'}"
    assert cli.main(["train", "--gin_file=again.gin", again, "--gin.STEPS=2"]) == 0
    assert workplace.lines("again") == straight[:2]


def test_a_run_that_goes_on_is_the_run_that_never_stopped(straight, workplace, train):
    assert train("parts", "STEPS=3")[0] == 0
    # What a killed process leaves: lines beyond its checkpoint, the last one torn.
    with (workplace.folder / "parts" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 99.0}\n{"step": 5, "lo')
    code, said = train("parts")
    assert code == 0 and "going on from step 3" in said.err
    assert workplace.lines("parts") == straight
    assert_equal(params_of(workplace, "parts"), params_of(workplace, "straight"))
    code, said = train("parts")
    assert code == 0 and "done: 6 steps" in said.err
    assert workplace.lines("parts") == straight


def test_a_damaged_checkpoint_costs_its_steps_and_nothing_else(straight, workplace, train):
    assert train("damaged", "STEPS=4")[0] == 0
    for file in (workplace.folder / "damaged" / "checkpoints" / "4").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:-9])
    code, said = train("damaged")
    assert code == 0 and "checkpoints/4 is damaged" in said.err
    assert "going on from step 2" in said.err
    assert workplace.lines("damaged") == straight


def test_a_loss_that_is_no_number_stops_the_run(workplace, train):
    assert train("diverged", "STEPS=2")[0] == 0
    code, said = train("diverged", "Schedule.rate=1e38", "CHECKPOINT_EVERY=1", "ALLOW_CHANGES=True")
    error = one_error(said)
    assert code == 2
    assert "step 3 has loss" in error and "parameter norm" in error
    assert "the tasks in its batch: first, repeat, shout" in error
    assert "the checkpoint of step 2 is good" in error
    assert [line["step"] for line in workplace.lines("diverged")] == [1, 2]
    code, said = train("diverged", "STEPS=3")
    assert code == 0 and "going on from step 2" in said.err


def test_parameters_come_from_another_run(straight, workplace, train):
    code, said = train("from", "INITIALIZE_FROM=straight", "STEPS=0", "SEED=5")
    assert code == 0 and "parameters from straight" in said.err
    assert_equal(params_of(workplace, "from"), params_of(workplace, "straight"))


def test_what_earlier_runs_trained_on_is_not_forgotten(straight, workplace, train):
    for run_dir, source, task in (("first", "straight", "shout"), ("second", "first", "first")):
        code, said = train(run_dir, f"INITIALIZE_FROM={source}", f"MIXTURE={task}", "STEPS=0")
        assert code == 0, said.err
    every = dict.fromkeys(("repeat", "shout", "first"), "letters")
    assert opened(workplace.folder / "second").run["trained"] == every


def test_a_missing_parameter_needs_leave(straight, workplace, train):
    tied = "T5Config.tied_head=True"
    code, said = train("tied", "INITIALIZE_FROM=straight", tied, "STEPS=1")
    assert code == 2 and "head/kernel is float32[16, 384] there and absent here" in one_error(said)
    code, said = train("tied", "INITIALIZE_FROM=straight", tied, "STEPS=0", "ALLOW_MISSING=True")
    assert code == 0


@pytest.mark.parametrize(
    ("gin", "fields", "array"),
    [
        (["T5Config.d_model=32"], "d_model is 16 there and 32 here; ", "16] there and float32["),
        (
            ["T5Config.num_encoder_layers=2", "T5Config.dropout_rate=0.3", "ALLOW_MISSING=True"],
            "num_encoder_layers is 1 there and 2 here; ",
            "is float32[1, ",
        ),
        (["MODEL=@DecoderConfig()", *DECODER], "the model is T5Config there and DecoderConfig", ""),
    ],
    ids=["width", "layers", "kind"],
)
def test_parameters_of_another_shape_say_what_differs(straight, train, gin, fields, array):
    code, said = train("shape", "INITIALIZE_FROM=straight", "STEPS=1", *gin)
    assert code == 2
    assert f"checkpoints/6 is of another model: {fields}" in one_error(said)
    assert array in one_error(said) and "dropout" not in one_error(said)
    assert "give the model the fields that it had" in one_error(said)


def test_tasks_that_are_not_prepared_need_leave(workplace, train):
    place = workplace.folder / "tasks" / "more" / "letters"
    place.mkdir(parents=True)
    for name, split in (("later", "train"), ("judge", "test")):
        card = CARD.format(name=name, templates='  - {inputs: "Say: {text}"}')
        start, end = card.index("splits:"), card.index("fields:")
        text = f"{card[:start]}splits: {{{split}: rows.jsonl}}\n{card[end:]}"
        (place / f"{name}.yaml").write_text(text)
    (place.parent / "mixtures.yaml").write_text("more_tiny: {tasks: [tiny, more]}\n")

    code, said = train("more", "MIXTURE=more_tiny", "STEPS=1")
    assert code == 2
    assert "no training records of later in store" in one_error(said)
    assert "ALLOW_MISSING=True" in one_error(said)

    code, said = train("more", "MIXTURE=more_tiny", "STEPS=1", "ALLOW_MISSING=True")
    assert code == 0, said.err
    assert "not prepared, and left out: later" in said.err
    assert "without a training split, and not trained on: judge" in said.err
    record = opened(workplace.folder / "more").run
    assert record["absent"] == ["later"]
    assert set(record["tasks"]) == {"repeat", "shout", "first"}

    code, said = train("none", "MIXTURE=later", "ALLOW_MISSING=True")
    assert code == 2
    assert "no training records of later" in one_error(said)


def test_evaluation_at_intervals_before_and_after(straight, workplace, train):
    groups = "Evaluation.groups={'seen': 'tiny', 'one': 'shout'}"
    settings = (groups, "EVAL_EVERY=4", "Evaluation.before=True", "Evaluation.examples=4")
    code, said = train("scored", *settings)
    assert code == 0, said.err
    folder = workplace.folder / "scored"
    assert sorted(p.name for p in (folder / "scores").iterdir()) == [
        "000000000.json",
        "000000004.json",
        "000000006.json",
    ]
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["step"] == 6 and set(scores["tasks"]) == {"first", "repeat", "shout"}
    assert set(scores["before"]) == set(scores["after"]) == {"seen", "one", "majority"}
    assert workplace.lines("scored") == straight


@pytest.mark.parametrize(
    ("gin", "message"),
    [
        (["BATCH_SIZE=3", "MeshConfig.data=2"], "BATCH_SIZE is 3: its rows can't be divided over"),
        (["MeshConfig.fsdp=7", "BATCH_SIZE=7"], "a mesh of data=1 x fsdp=7 x tensor=1 needs 7"),
        (["MICROBATCHES=3"], "and 3 microbatches: choose a multiple of 3"),
        (["STREAMS=3"], "streams is 3"),
        (["MIXTURE=tniy"], "is named 'tniy'; did you mean 'tiny'?"),
        (["STORE=elsewhere"], "run: flanmix prepare tiny --store elsewhere"),
        (["RUN_DIR=tiny.gin"], "RUN_DIR"),
        (["T5Config.vocab_size=100"], "has 259 ids: make it 384"),
        (["INITIALIZE_FROM=nowhere"], "there is no checkpoint in"),
        (["Evaluation.groups={'a': 'shuot'}"], "'shuot'; did you mean 'shout'?"),
        (["VOCABULARY=missing.model"], "missing.model"),
    ],
)
def test_a_mistake_is_one_line(train, gin, message):
    code, said = train("mistake", *gin)
    assert code == 2
    assert message in one_error(said)


@pytest.mark.parametrize(
    ("gin", "message"),
    [
        (["SEED=3"], "SEED was 0 and is 3"),
        (["BATCH_SIZE=8"], "BATCH_SIZE was 4 and is 8"),
        (["MIXTURE=shout"], "its mixture had first, repeat"),
        (["VOCABULARY=pocket", "T5Config.vocab_size=1152"], "is of another model"),
        (["T5Config.d_ff=64"], "float32[1, 16, 32] there and float32[1, 16, 64] here"),
    ],
)
def test_a_run_goes_on_with_its_own_data_and_model_only(straight, train, gin, message):
    code, said = train("straight", "STEPS=8", *gin)
    assert code == 2
    assert message in one_error(said)
