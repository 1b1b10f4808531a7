"""Gin: a mistake is one line with the nearest valid name; what was used can be used again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.errors import UserError
from flanmix.learn.optimizer import AdamW
from flanmix.registry.paths import gin_root
from flanmix.verbs import gin_config as configuration

FILES = ["gin/models/t5_tiny.gin", "gin/runs/instruct.gin"]
SET = {
    "RUN_DIR": "/data/a",
    "STORE": "s",
    "MIXTURE": "pocket",
    "STEPS": "3",
    "BATCH_SIZE": "8",
    "INPUTS_LENGTH": "64",
    "TARGETS_LENGTH": "32",
}


def load(*bindings, files=FILES, search=(), without=()):
    given = [f"{name}={value}" for name, value in SET.items() if name not in without]
    return configuration.load(files, [*given, *bindings], list(search))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs where no gin folder is, so that the files are found in flanmix's own."""
    monkeypatch.chdir(tmp_path)


def test_files_bindings_and_defaults_meet():
    run = load(
        "T5Config.d_ff=96", "RUN_DIR='/b c'", "TrainConfig.optimizer=@AdamW()", "AdamW.b1=0.8"
    )
    assert (run.run_dir, run.train.steps, run.data.seed, run.data.streams) == ("/b c", 3, 0, None)
    assert run.train.seed == load("SEED=4").data.seed - 4 == 0
    assert (run.model.d_model, run.model.d_ff) == (128, 96)
    assert run.train.optimizer == AdamW(b1=0.8)
    assert run.train.loss.z_loss == 1e-4


def test_the_order_of_files_does_not_matter():
    assert load() == load(files=FILES[::-1])


@pytest.mark.parametrize(
    ("bindings", "message"),
    [
        (["STPES=3"], "gin name 'STPES' is unknown; did you mean 'STEPS'?"),
        (["T5Config.d_modl=3"], "gin name 'T5Config.d_modl' is unknown; did you mean 'd_model'?"),
        (["T5Confg.d_model=3"], "gin name 'T5Confg' is unknown; did you mean 'T5Config'?"),
        (["MODEL=@T5Cofig()"], "gin name 'T5Cofig' is unknown; did you mean 'T5Config'?"),
        (["Run.steps=3"], "gin name 'Run.steps' is unknown; it is 'TrainConfig.steps'"),
        (["T5Config.dtype=bfloat16"], "'T5Config.dtype' is unknown; it is 'Compute.dtype'"),
        (["LossConfig.z_loss=0.1"], "'LossConfig' is unknown; it is 'CrossEntropy' now"),
        (["STEPS=%STOPS"], "no value for STOPS"),
        (["STEPS=abc"], "STEPS is 'abc': must be of type int"),
        (["SEED=True"], "SEED is True: must be of type int"),
        (["STEPS=-1"], "STEPS is -1: must not be negative"),
        (["MICROBATCHES=0"], "MICROBATCHES is 0: must be at least 1"),
        (["CheckpointConfig.keep_last=0"], "CheckpointConfig.keep_last is 0: must be at least 1"),
        (["Schedule.kind=cosin"], "Schedule.kind is 'cosin': must be one of"),
        (["T5Config.d_model='x'"], "T5Config: "),
        (["Evaluation.examples=0"], "Evaluation.examples is 0"),
        (["MeshConfig.data=0"], "MeshConfig is data=0"),
    ],
)
def test_a_mistake_is_said_in_one_line(bindings, message):
    with pytest.raises(UserError) as error:
        load(*bindings)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_is_missing_is_named():
    with pytest.raises(UserError, match="no value for BATCH_SIZE, STEPS: give it with "):
        load(without=("STEPS", "BATCH_SIZE"))
    with pytest.raises(UserError, match="no value for INITIALIZE_FROM"):
        load(files=[FILES[0], "gin/runs/finetune.gin"])
    with pytest.raises(UserError, match="describe no run: include one of gin/runs/"):
        load(files=FILES[:1])


def test_an_evaluation_needs_no_steps_and_no_optimizer():
    run = load(files=[FILES[0], "gin/runs/evaluate.gin"], without=("STEPS",))
    assert run.train is None
    assert run.evaluation.groups is None and run.evaluation.selection == 200


def test_files_are_looked_up_here_then_in_the_search_paths_then_in_flanmix(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.gin").write_text("include 'gin/runs/instruct.gin'\nSEED = 1\n")
    (tmp_path / "top.gin").write_text("include 'mine.gin'\ninclude 'gin/models/t5_tiny.gin'\n")
    assert load(files=["top.gin"], search=[f"nowhere,{tmp_path / 'a'}"]).data.seed == 1
    (tmp_path / "mine.gin").write_text("include 'gin/runs/instruct.gin'\nSEED = 2\n")
    assert load(files=["top.gin"], search=[str(tmp_path / "a")]).data.seed == 2
    with pytest.raises(UserError, match=r"no gin file 'gin/runs/instrct.gin' .* did you mean"):
        load(files=["gin/runs/instrct.gin"])
    (tmp_path / "bad.gin").write_text("include 'gin/runs/instrct.gin'\n")
    with pytest.raises(UserError, match=r"mean 'gin/runs/instruct.gin'\? \(bad.gin, line 1"):
        load(files=["bad.gin"])


def test_a_mistake_in_a_file_is_placed(tmp_path):
    (tmp_path / "a.gin").write_text("include 'gin/runs/instruct.gin'\nSTEPS = = 3\n")
    with pytest.raises(UserError, match=r"gin can't read 'STEPS = = 3'.*line 2"):
        load(files=["a.gin"])
    (tmp_path / "b.gin").write_text("\nT5Config.dmodel = 3\n")
    with pytest.raises(UserError, match=r"did you mean 'd_model'\? \(b.gin, line 2\)"):
        load(files=["b.gin"])


def test_what_was_used_makes_the_same_run_and_still_yields_to_bindings(tmp_path):
    run = load("Evaluation.groups={'a': 'pocket'}", "MODEL=@DecoderConfig()")
    text = configuration.operative()
    (tmp_path / "config.gin").write_text(text)
    assert configuration.load(["config.gin"], [], []) == run
    again = configuration.load(["config.gin"], ["DecoderConfig.d_model=72", "STEPS=9"], [])
    assert again.model.d_model == 72 and again.train.steps == 9
    assert again.data.store == run.data.store


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=30))
def test_any_text_is_a_run_dir_or_one_line(text):
    try:
        run = load(f"RUN_DIR={text}")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(run.run_dir, str)


@pytest.mark.parametrize("path", sorted(gin_root().rglob("*.gin")), ids=lambda p: p.stem)
def test_every_gin_file_that_comes_with_flanmix_is_understood(path):
    """With a model and the macros beside it where it is only a part of a run."""
    name = f"gin/{path.relative_to(gin_root()).as_posix()}"
    parts = [] if "recipes" in name else [*FILES[: 0 if "models" in name else 1], FILES[1]]
    given = [] if "recipes" in name else [f"{k}={v}" for k, v in SET.items()]
    run = configuration.load([*parts, name], [*given, "INITIALIZE_FROM=a"], [])
    assert run.model.vocab_size > 0
