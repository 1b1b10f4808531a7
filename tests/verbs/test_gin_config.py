"""Gin: a mistake is one line with the nearest valid name; what was used can be used again."""

import dataclasses
import itertools
import typing
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.errors import UserError
from flanmix.learn.loss import LOSSES
from flanmix.learn.optimizer import AdamW
from flanmix.registry.paths import gin_root
from flanmix.train.settings import DataConfig, Run, TrainConfig
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
    without = {*without, *(binding.partition("=")[0] for binding in bindings)}
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
        (["T5Config.d_model='x'"], "T5Config.d_model is 'x': must be of type int"),
        (["Evaluation.examples=0"], "Evaluation.examples is 0"),
        (["MeshConfig.data=0"], "MeshConfig is data=0"),
    ],
)
def test_a_mistake_is_said_in_one_line(bindings, message):
    with pytest.raises(UserError) as error:
        load(*bindings)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        ("Adafactor.clip_norm=-1", "Adafactor.clip_norm is -1: must be more than 0"),
        ("Adafactor.clip_norm=0", "Adafactor.clip_norm is 0: must be more than 0"),
        ("Adafactor.decay_rate=1.5", "Adafactor.decay_rate is 1.5: must be in (0, 1]"),
        ("Adafactor.min_dim_size_to_factor=0", "min_dim_size_to_factor is 0: must be at least 1"),
        ("AdamW.b2=1", "AdamW.b2 is 1: must be in [0, 1)"),
        ("AdamW.b1=-0.1", "AdamW.b1 is -0.1: must be in [0, 1)"),
        ("AdamW.eps=0", "AdamW.eps is 0: must be more than 0"),
        ("AdamW.weight_decay=-0.1", "AdamW.weight_decay is -0.1: must not be negative"),
        ("AdamW.clip_norm=-1", "AdamW.clip_norm is -1: must be more than 0"),
        ("Schedule.warmup=0.06", "Schedule.warmup is 0.06: must be of type int"),
        ("Schedule.rate='0.001'", "Schedule.rate is '0.001': must be of type float; write 0.001,"),
        ("Schedule.rate=1e999", "Schedule.rate is inf: must be a finite number"),
        ("Schedule.rate=nan", "Schedule.rate is 'nan': must be of type float"),
        ("LEARNING_RATE=-1", "LEARNING_RATE is -1: must not be negative"),
        ("CrossEntropy.z_loss=True", "CrossEntropy.z_loss is True: must be of type float"),
        ("CrossEntropy.label_smoothing=1", "label_smoothing is 1: must be in [0, 1)"),
        ("Evaluation.examples=2.5", "Evaluation.examples is 2.5: must be of type int or None"),
        ("Evaluation.groups=food_opinion", "Evaluation.groups is 'food_opinion': must be of type"),
        ("Evaluation.groups={'a': 3}", "Evaluation.groups is {'a': 3}: must be of type Mapping"),
        ("Compute.dtype=float64", "Compute.dtype is 'float64': must be one of 'float32'"),
        ("MeshConfig.fsdp=0.5", "MeshConfig.fsdp is 0.5: must be of type int"),
        ("T5Config.dropout_rate=1.0", "T5Config.dropout_rate is 1.0: must be in [0, 1)"),
        ("T5Config.num_encoder_layers=0", "num_encoder_layers is 0: must be at least 1"),
        ("T5Config.norm_epsilon=0.0", "T5Config.norm_epsilon is 0.0: must be more than 0"),
        ("T5Config.max_distance=16", "T5Config.max_distance is 16: must be more than half of"),
        ("DecoderConfig.rope_theta=-1", "DecoderConfig.rope_theta is -1: must be more than 0"),
        ("DecoderConfig.head_dim=7", "DecoderConfig.head_dim is 7: rope needs an even one"),
        ("SEED=1e3", "SEED is 1000.0: must be of type int"),
        ("SEED=99999999999999999999", "SEED is 99999999999999999999: must be in [0, 922"),
        ("TrainConfig.loss=3", "TrainConfig.loss is 3: must be of type Loss"),
        ("TrainConfig.loss=@Schedule()", "TrainConfig.loss is Schedule(kind='constant', rate="),
        ("TrainConfig.optimizer=AdamW", "of type Adafactor or AdamW; write @AdamW()"),
        ("TrainConfig.optimizer=@AdamW", "optimizer is @AdamW: must be of type Adafactor or Ad"),
        ("MODEL=@T5Config", "MODEL is @T5Config: must be of type ModelConfig; write @T5Config()"),
        ("INPUTS_LENGTH=1", "INPUTS_LENGTH is 1: must be at least 2"),
    ],
)
def test_a_value_that_its_field_cannot_have_is_refused(binding, said):
    with pytest.raises(UserError) as error:
        load(binding, *CHOSEN.get(binding.partition(".")[0], []))
    assert said in str(error.value) and "\n" not in str(error.value)


CHOSEN = {
    "AdamW": ["TrainConfig.optimizer=@AdamW()"],
    "DecoderConfig": ["MODEL=@DecoderConfig()"],
    "Lora": ["TrainConfig.lora=@Lora()"],
}
NUMBERS = {"a text": "'x'", "a number in quotes": "'3'", "True": "True", "a list": "[1]"}
WRONG = {  # what each type is not
    int: {**NUMBERS, "a fraction": "2.5", "infinity": "1e999"},
    float: {**NUMBERS, "infinity": "1e999"},
    bool: {"1": "1", "a text": "'yes'"},
    str: {"a number": "3", "a list": "['a']"},
}


def wrong_values(wanted):
    """Values, as gin writes them, that are of none of the types of an annotation."""
    kinds = {kind for kind in (wanted, *typing.get_args(wanted)) if kind in WRONG}
    if not kinds or typing.get_origin(wanted) is Mapping:
        return ["3", "'x'", "{'a': 3}", "{3: 'a'}"]
    return list(WRONG[kinds.pop()].values())


FIELDS = [
    (kind, name, wanted)
    for kind in configuration.configurables()
    for name, wanted in typing.get_type_hints(kind).items()
    if name in {field.name for field in dataclasses.fields(kind)}
]


@pytest.mark.parametrize(
    ("kind", "name", "wanted"), FIELDS, ids=lambda x: getattr(x, "__name__", "")
)
def test_every_field_of_every_class_refuses_other_types(kind, name, wanted):
    chosen = CHOSEN.get(kind.__name__, [])
    macros = [kind.__dataclass_fields__[name].metadata.get("macro")]
    for value in wrong_values(wanted):
        with pytest.raises(UserError) as error:
            load(f"{kind.__name__}.{name}={value}", *chosen, without=macros)
        assert str(error.value).startswith(f"{kind.__name__}.{name} is ")
        assert "\n" not in str(error.value)
    if wanted in (int, float, bool, str):
        with pytest.raises(UserError, match=f"^{kind.__name__}.{name} is None: must be of type"):
            load(f"{kind.__name__}.{name}=None", *chosen, without=macros)


@pytest.mark.parametrize("kind", [k for k in configuration.configurables() if k is not Run])
def test_classes_check_themselves_without_gin(kind):
    needed = {"batch_size": 8, "inputs_length": 8, "targets_length": 8, "store": "", "mixture": ""}
    required = {"steps": 1} if kind is TrainConfig else needed if kind is DataConfig else {}
    kind(**required)
    for field in dataclasses.fields(kind):  # jaxtyping's hook, if it is on, is faster
        with pytest.raises((ValueError, TypeError), match=field.name):
            kind(**{**required, field.name: b"x"})


def test_a_value_that_a_field_has_through_a_macro_is_named_by_the_macro(tmp_path):
    lines = "Schedule.kind = 'linear'\nSchedule.steps = %STEPS\nSchedule.warmup = %MINE\nMINE = 0\n"
    (tmp_path / "a.gin").write_text(f"include '{FILES[1]}'\n{lines}")
    for binding, said in (("STEPS='700'", "STEPS is '700'"), ("MINE=-1", "MINE is -1")):
        with pytest.raises(UserError, match=f"^{said}: must "):
            load(binding, files=[FILES[0], "a.gin"])


def test_a_file_that_includes_itself_is_one_line(tmp_path):
    (tmp_path / "a.gin").write_text("include 'a.gin'\n")
    with pytest.raises(UserError, match=r"^a gin file includes itself.* \(a.gin, line 1\)$"):
        load(files=["a.gin"])


def test_whole_numbers_are_numbers():
    assert load("Schedule.rate=1", "Schedule.final=0").train.schedule.rate == 1


def test_a_plugins_fields_are_checked_too(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Focal:
        gamma: float = 1.0
        floor: int = 0

        def __post_init__(self):
            assert self.floor + 1 > 0

        def __call__(self, model, batch, *, dropout_rng, num_tasks): ...

    monkeypatch.setattr(LOSSES, "_things", {**LOSSES._things, "FocalOfTests": Focal})
    Focal.__name__ = "FocalOfTests"
    chosen = "TrainConfig.loss=@FocalOfTests()"
    assert load(chosen, "FocalOfTests.gamma=2").train.loss == Focal(gamma=2)
    with pytest.raises(UserError, match=r"^FocalOfTests.floor is 'x': must be of type int$"):
        load(chosen, "FocalOfTests.floor='x'")
    with pytest.raises(UserError, match=r"CrossEntropy.z_loss has no effect: FocalOfTests runs"):
        load(chosen, "CrossEntropy.z_loss=0.1")


# ---- what nothing reads ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bindings", "said"),
    [
        (["AdamW.weight_decay=0.1"], "AdamW.weight_decay has no effect: Adafactor runs; to run"),
        (["WEIGHT_DECAY=0.1"], "WEIGHT_DECAY has no effect: Adafactor runs; to run another: Trai"),
        (["Adafactor.clip_norm=1", *CHOSEN["AdamW"]], "Adafactor.clip_norm has no effect: AdamW"),
        (["DecoderConfig.d_ff=8"], "has no effect: T5Config runs; to run another: MODEL = @Dec"),
        (["Run.train=None", "Schedule.rate=0.1"], "Schedule.rate has no effect: this run does not"),
        (["a/T5Config.d_ff=8"], "a/T5Config.d_ff has no effect: nothing is made in the scope 'a'"),
    ],
)
def test_a_binding_that_nothing_reads_is_an_error(bindings, said):
    with pytest.raises(UserError) as error:
        load(*bindings, without=["STEPS"] if "Run.train=None" in bindings else [])
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["STEPS", "LEARNING_RATE", "Schedule.warmup", "Adafactor.eps"])
def test_an_evaluation_refuses_what_training_alone_reads_but_not_in_its_files(tmp_path, name):
    name = name.replace("eps", "decay_rate")
    value = "0.5" if name in ("LEARNING_RATE", "Adafactor.decay_rate") else "5"
    files = [FILES[0], "gin/runs/evaluate.gin"]
    with pytest.raises(UserError, match=f"{name} has no effect: this run does not train"):
        load(f"{name}={value}", files=files, without=["STEPS"])
    (tmp_path / "shared.gin").write_text(f"{name} = {value}\n")
    assert load(files=["shared.gin", *files], without=["STEPS"]).train is None


def test_a_file_may_bind_what_a_later_file_or_flag_replaced(tmp_path):
    """A run's own configuration names everything of its optimizer; another may be chosen then."""
    load("Adafactor.clip_norm=2", "T5Config.d_ff=8")
    (tmp_path / "config.gin").write_text(configuration.operative())
    (tmp_path / "adamw.gin").write_text("TrainConfig.optimizer = @AdamW()\nAdamW.b1 = 0.5\n")
    run = configuration.load(["config.gin"], ["TrainConfig.optimizer=@AdamW()"], [])
    assert run.train.optimizer == AdamW()  # with its own clipping, not Adafactor's
    run = configuration.load(["config.gin", "adamw.gin"], ["MODEL=@DecoderConfig()"], [])
    assert (run.train.optimizer.b1, run.model.dropout_rate) == (0.5, 0.0)
    (tmp_path / "mine.gin").write_text("include 'config.gin'\nAdamW.b1 = 0.5\n")
    with pytest.raises(UserError, match=r"AdamW.b1 \(mine.gin, line 2\) has no effect: Adafactor"):
        configuration.load(["mine.gin"], [], [])


def test_a_file_may_choose_another_class_than_what_it_includes(tmp_path):
    mine = f"include '{FILES[1]}'\nAdafactor.clip_norm = 1\nTrainConfig.optimizer = @AdamW()\n"
    (tmp_path / "mine.gin").write_text(mine)
    with pytest.raises(UserError, match=r"Adafactor.clip_norm \(mine.gin, line 2\) has no effect"):
        load(files=[FILES[0], "mine.gin"])
    (tmp_path / "adafactor.gin").write_text("Adafactor.clip_norm = 1\n")
    (tmp_path / "run.gin").write_text(f"include '{FILES[1]}'\ninclude 'adafactor.gin'\n")
    (tmp_path / "mine.gin").write_text("include 'run.gin'\nTrainConfig.optimizer = @AdamW()\n")
    assert load(files=[FILES[0], "mine.gin"]).train.optimizer == AdamW()


# ---- given twice -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "SEED = 1\n# so\nSEED = 2\n",
            r"SEED is bound twice in one file (a.gin, line 2, and line 4)",
        ),
        ("SEED = 1\nSEED = 1\n", "SEED is bound twice in one file (a.gin, line 2, and line 3)"),
        ("T5Config.d_ff = 8\nT5Config:\n  d_ff = 9\n", "T5Config.d_ff is bound twice in one file"),
        ("LEARNING_RATE = 0.1\nSchedule.rate = 0.2\n", "LEARNING_RATE is 0.1 and Schedule.rate is"),
        ("MINE = 1\nSEED = %MINE\nMINE = 2\n", "MINE is bound twice in one file"),
    ],
)
def test_a_name_that_a_file_binds_twice_is_an_error_with_both_lines(tmp_path, lines, said):
    (tmp_path / "a.gin").write_text(f"include 'gin/runs/instruct.gin'\n{lines}")
    for files in (["a.gin"], ["b.gin"]):
        (tmp_path / "b.gin").write_text("include 'a.gin'\nCHECKPOINT_EVERY = 5\n")
        with pytest.raises(UserError) as error:
            load(files=[FILES[0], *files])
        assert said in str(error.value) and "\n" not in str(error.value)


def test_what_a_file_includes_may_be_overridden_as_ever(tmp_path):
    (tmp_path / "a.gin").write_text("include 'gin/runs/instruct.gin'\nSEED = 1\n")
    (tmp_path / "b.gin").write_text("include 'a.gin'\nSEED = 2\n")
    assert load(files=[FILES[0], "b.gin"]).data.seed == 2
    assert load("SEED=3", files=[FILES[0], "b.gin", "b.gin"]).data.seed == 3


def test_the_command_line_may_repeat_itself_but_not_differ():
    assert load("SEED=3", "SEED=3").data.seed == 3
    with pytest.raises(UserError, match="SEED is given twice on the command line, as 3 and as 4"):
        load("SEED=3", "SEED=4")
    with pytest.raises(
        UserError, match=r"LEARNING_RATE is 0.1 and Schedule.rate is 0.2 .*leave on"
    ):
        load("LEARNING_RATE=0.1", "Schedule.rate=0.2")
    assert load("LEARNING_RATE=0.1", "Schedule.rate=0.1").train.schedule.rate == 0.1


# ---- short names -------------------------------------------------------------------------------

SHORT = {
    "LEARNING_RATE": ("Schedule.rate", 0.5),
    "WARMUP": ("Schedule.warmup", 2),
    "LABEL_SMOOTHING": ("CrossEntropy.label_smoothing", 0.25),
    "CLIP_NORM": ("Adafactor.clip_norm", 2.5),
    "DROPOUT": ("T5Config.dropout_rate", 0.25),
    "DTYPE": ("Compute.dtype", "bfloat16"),
    "REMAT": ("Compute.remat", "dots"),
    "FSDP": ("MeshConfig.fsdp", 3),
    "TENSOR": ("MeshConfig.tensor", 3),
    "EVAL_EXAMPLES": ("Evaluation.examples", 7),
    "EVAL_BATCH_SIZE": ("Evaluation.batch_size", 24),
    "KEEP_LAST": ("CheckpointConfig.keep_last", 5),
}


# What the recipe for a mixture of one's own asks for.
ASKED = ["MIXTURE=pocket", "RUN_DIR=runs/mine"]


def value_of(run, name):
    """The value of `Class.field` in a run."""
    kind, _, field = name.partition(".")
    train = run.train
    parts = (run.model, run.checkpoints, run.evaluation, run.mesh, run.compute)
    parts += (train.schedule, train.loss, train.optimizer) if train else ()
    return next(getattr(p, field) for p in parts if type(p).__name__ == kind)


@pytest.mark.parametrize(
    "recipe", sorted((gin_root() / "recipes").glob("*.gin")), ids=lambda p: p.stem
)
@pytest.mark.parametrize("macro", SHORT)
def test_short_names_take_effect_on_every_recipe(tmp_path, recipe, macro):
    name, value = SHORT[macro]
    asked = ASKED if "REQUIRED" in recipe.read_text() else []
    recipe = f"gin/recipes/{recipe.name}"
    for binding in (f"{macro}={value}", f"{name}={value}"):
        run = configuration.load([recipe], [binding, *asked], [])
        assert value_of(run, name) == value
        (tmp_path / "config.gin").write_text(configuration.operative())
        assert configuration.load(["config.gin"], [], []) == run
    (tmp_path / "mine.gin").write_text(f"include '{recipe}'\n{name} = {value!r}\n")
    assert value_of(configuration.load(["mine.gin"], asked, []), name) == value
    other = {"bfloat16": "float32", "dots": "full"}.get(value, 0.75 if value == 0.5 else 1)
    other = 0.75 if macro in ("DROPOUT", "LABEL_SMOOTHING") else other
    assert (
        value_of(configuration.load(["mine.gin"], [f"{macro}={other}", *asked], []), name) == other
    )


@pytest.mark.parametrize("path", sorted((gin_root() / "runs").glob("*.gin")), ids=lambda p: p.stem)
def test_short_names_take_effect_on_every_run_file(path):
    training = "evaluate" not in path.name
    for macro, (name, value) in SHORT.items():
        if training or name.partition(".")[0] not in ("Schedule", "CrossEntropy", "Adafactor"):
            files = [FILES[0], f"gin/runs/{path.name}"]
            without = () if training else ("STEPS",)
            run = load(f"{macro}={value}", "INITIALIZE_FROM=a", files=files, without=without)
            assert value_of(run, name) == value


def test_short_names_follow_the_class_that_runs():
    run = load("WEIGHT_DECAY=0.3", "CLIP_NORM=2", "DROPOUT=0.2", *itertools.chain(*CHOSEN.values()))
    assert run.train.optimizer == AdamW(weight_decay=0.3, clip_norm=2)
    assert run.model.dropout_rate == 0.2
    assert load(*CHOSEN["AdamW"]).train.optimizer == AdamW()


def test_a_name_that_parts_share_yields_to_a_part_of_its_own():
    run = load("SEED=3", "TrainConfig.seed=4")
    assert (run.data.seed, run.train.seed) == (3, 4)


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
    values = SET | {"BATCH_SIZE": "64"}  # a pod has 64 hosts
    given = ASKED if "recipes" in name else [f"{k}={v}" for k, v in values.items()]
    run = configuration.load([*parts, name], [*given, "INITIALIZE_FROM=a"], [])
    assert run.model.vocab_size > 0
