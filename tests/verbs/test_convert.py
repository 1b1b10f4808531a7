"""`flanmix convert`, and runs that begin with a folder of others: in, tuned, and out again."""

import json
from pathlib import Path

import pytest

from flanmix import cli
from flanmix.convert.family import FAMILIES
from flanmix.learn.checkpoint import newest_record, open_checkpoint
from flanmix.model.t5 import T5Config
from tests.convert.folders import (
    BESIDES,
    GENERATION,
    assert_same_bytes,
    llama_folder,
    weights,
)
from tests.convert.t5x_checkpoints import parameters, write_orbax
from tests.convert.tensors import DictSource, foreign_shapes
from tests.train.training import one_error


@pytest.fixture
def flanmix(capsys):
    """Runs a verb in this process: its exit code, and what it said."""

    def run(*arguments):
        code = cli.main([*map(str, arguments)])
        return code, capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path):
    return llama_folder(tmp_path / "there", dtype="bfloat16")


def refused(flanmix, *arguments):
    code, said = flanmix(*arguments)
    assert code == 2 and not said.out
    return one_error(said)


def test_a_folder_becomes_a_checkpoint_and_comes_back(flanmix, folder, tmp_path):
    model, back = tmp_path / "model", tmp_path / "back"
    code, said = flanmix("convert", "from-hf", folder, model, "--json")
    assert code == 0
    parameters = sum(tensor.size for tensor in weights(folder).values())
    assert json.loads(said.out) == {
        "parameters": parameters,
        "source": str(folder),
        "destination": str(model),
    }
    # Nothing but the checkpoint is needed from here on.
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    tensors = weights(folder)
    for path in folder.iterdir():
        path.unlink()
    code, said = flanmix(
        "generate", "--checkpoint", model, "--prompt", "the cat", "--max_new_tokens", 3, "--json"
    )
    assert code == 0 and json.loads(said.out)[0]["prompt"] == "the cat"
    code, said = flanmix("convert", "to-hf", model, back)
    assert code == 0 and said.out == f"{parameters:,} parameters: {back}\n"
    assert_same_bytes(tensors, weights(back))
    assert sorted(path.name for path in back.iterdir()) == sorted(there)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (back / name).read_bytes() == there[name]
    for name in ("config.json", "generation_config.json"):
        assert json.loads((back / name).read_text()) == json.loads(there[name])


def test_types_are_chosen(flanmix, tmp_path):
    folder = llama_folder(tmp_path / "there")
    flanmix("convert", "from-hf", folder, tmp_path / "model", "--dtype", "bfloat16")
    params = open_checkpoint(tmp_path / "model").params
    wanted = weights(folder)["model.norm.weight"].astype("bfloat16")
    assert (params["norm"]["scale"] == wanted.astype("float32")).all()
    flanmix("convert", "to-hf", tmp_path / "model", tmp_path / "back", "--dtype", "bfloat16")
    assert weights(tmp_path / "back")["model.norm.weight"].tobytes() == wanted.tobytes()


def test_a_destination_that_is_there_is_kept(flanmix, folder, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    for direction in ("from-hf", "to-hf", "from-gguf", "from-t5x"):
        error = refused(flanmix, "convert", direction, folder, tmp_path / "model")
        assert "is there already" in error
    assert (tmp_path / "model" / "mine.txt").read_text() == "mine"


def test_what_is_refused_leaves_nothing(flanmix, folder, tmp_path):
    before = sorted(tmp_path.iterdir())
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    for direction, match in (
        ("from-hf", "model.safetensors is damaged"),
        ("to-hf", "no checkpoint: flanmix convert from-hf makes one"),
        ("from-gguf", "can't be read"),
    ):
        assert match in refused(flanmix, "convert", direction, folder, tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == before


def test_a_tokenizer_larger_than_the_embedding_is_refused(flanmix, tmp_path):
    there = llama_folder(tmp_path / "there", vocab_size=256)
    error = refused(flanmix, "convert", "from-hf", there, tmp_path / "model")
    assert "its table of embeddings 256 rows" in error and str(there) in error
    assert not (tmp_path / "model").exists()


def test_a_smaller_tokenizer_is_said(flanmix, tmp_path):
    there = llama_folder(tmp_path / "there", vocab_size=400)
    code, said = flanmix("convert", "from-hf", there, tmp_path / "model")
    assert code == 0 and "of 400 rows of the embedding have no token" in said.err


def test_without_a_tokenizer_the_weights_are_taken(flanmix, folder, tmp_path):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    code, said = flanmix("convert", "from-hf", folder, tmp_path / "model")
    assert code == 0 and "holds no tokenizer" in said.err
    error = refused(flanmix, "generate", "--checkpoint", tmp_path / "model", "--prompt", "a")
    assert "carries no tokenizer" in error


# ---- runs that begin with a folder -------------------------------------------------------------

GIN = """
include 'gin/runs/instruct.gin'
MIXTURE = 'tiny'
BATCH_SIZE = 4
INPUTS_LENGTH = 48
TARGETS_LENGTH = 16
EVAL_EXAMPLES = 2
LEARNING_RATE = 0.01
"""


# Settings that decide no shape are still one's own.
OWN = ("TrainConfig.trainable=layers/.*", "DROPOUT=0.25")


@pytest.fixture(scope="module")
def tuned(workplace) -> Path:
    """A run of two steps from a folder that decides model and vocabulary, and is gone by its end.

    The embedding stays frozen.
    """
    there = llama_folder(workplace.folder / "pretrained")
    (workplace.folder / "tune.gin").write_text(GIN)
    done = train(workplace, "tuned", "STEPS=2", f"INITIALIZE_FROM={there}", *OWN)
    assert "parameters from" in done.stderr
    there.rename(workplace.folder / "moved")
    return workplace.folder / "tuned"


def flags(workplace, run, *bindings, gin_file="tune.gin"):
    places = (f"RUN_DIR={workplace.folder / run}", f"STORE={workplace.folder / 'store'}")
    file = f"--gin_file={workplace.folder / gin_file}"
    return [file, *(f"--gin.{binding}" for binding in (*places, *bindings))]


def train(workplace, run, *bindings, gin_file="tune.gin"):
    return workplace.flanmix("train", *flags(workplace, run, *bindings, gin_file=gin_file))


def test_a_run_records_what_its_folder_was(tuned):
    record = newest_record(tuned)
    assert record["model"]["kind"] == "DecoderConfig" and record["model"]["vocab_size"] == 320
    assert record["model"]["dropout_rate"] == 0.25
    assert record["foreign"]["config"]["max_position_embeddings"] == 96
    assert record["pretrained"]["on"] is None and set(record["trained"]) == {
        "repeat",
        "shout",
        "first",
    }
    text = (tuned / "config.gin").read_text()
    assert "MODEL = @DecoderConfig()" in text and "DecoderConfig.d_model = 16" in text


def test_a_tuned_model_goes_out(flanmix, tuned, workplace, tmp_path):
    code, said = flanmix("convert", "to-hf", tuned, tmp_path / "out")
    assert code == 0, said.err
    there, here = weights(workplace.folder / "moved"), weights(tmp_path / "out")
    same = {name for name in there if there[name].tobytes() == here[name].tobytes()}
    assert same == {"model.embed_tokens.weight", "model.norm.weight"}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {name: config[name] for name in BESIDES} == BESIDES
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text()) == GENERATION
    tokenizer = (workplace.folder / "moved" / "tokenizer.json").read_bytes()
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == tokenizer


def test_a_run_goes_on_without_its_folder(flanmix, tuned, workplace):
    """By its own configuration, and by the files and flags that it began with."""
    done = train(workplace, "tuned", "STEPS=3", gin_file=tuned / "config.gin")
    assert "going on from step 2" in done.stderr and "is gone: takes the one in" in done.stderr
    there = f"INITIALIZE_FROM={workplace.folder / 'pretrained'}"
    done = train(workplace, "tuned", "STEPS=4", there, "PRETRAINED_ON=['first']", *OWN)
    assert "going on from step 3" in done.stderr
    record = newest_record(tuned)
    assert record["pretrained"]["on"] == ["first"] and "foreign" in record
    assert record["vocabulary"] == str(workplace.folder / "pretrained")
    code, said = flanmix("generate", "--checkpoint", tuned, "--prompt", "Repeat: r001", "--json")
    assert code == 0 and json.loads(said.out)[0]["text"] is not None


@pytest.fixture
def here(monkeypatch, workplace):
    monkeypatch.setenv("FLANMIX_TASKS", str(workplace.folder / "tasks"))


def test_what_was_seen_in_pretraining_may_be_declared(flanmix, folder, workplace, here, tmp_path):
    (workplace.folder / "tune.gin").write_text(GIN)
    assert flanmix("convert", "from-hf", folder, tmp_path / "model")[0] == 0

    def evaluate(*bindings):
        source = f"INITIALIZE_FROM={tmp_path / 'model'}"
        return flanmix(
            "evaluate", *flags(workplace, "none", "STEPS=1", source, *bindings), "--json"
        )

    for declared, seen in ((), "unknown"), (("PRETRAINED_ON=['letters']",), "cluster"):
        code, said = evaluate("MIXTURE=repeat", *declared)
        assert code == 0, said.err
        assert json.loads(said.out)["details"]["repeat"]["seen"] == seen
    for declared, match in (
        ("['shuot']", "neither a task nor a cluster; did you mean 'shout'"),
        ("shout", "PRETRAINED_ON is 'shout': must be of type Sequence[str]"),
    ):
        code, said = evaluate(f"PRETRAINED_ON={declared}")
        assert code == 2 and match in one_error(said)


T5 = [
    f"T5Config.{field}={value}"
    for field, value in dict(
        vocab_size=320,
        d_model=8,
        d_ff=8,
        num_heads=2,
        head_dim=4,
        num_encoder_layers=1,
        num_decoder_layers=1,
    ).items()
]


@pytest.mark.parametrize(
    ("bindings", "match"),
    [
        (["MODEL=@T5Config()", *T5], "leave MODEL out"),
        (["DecoderConfig.d_ff=32"], "d_ff is 32, and by the config.json of"),
        (["INITIALIZE_FROM=nowhere"], "neither a Hugging Face folder nor a checkpoint"),
        (["INITIALIZE_FROM={small}"], "its table of embeddings 256 rows"),
        (["INITIALIZE_FROM={broken}"], "model.safetensors is damaged"),
    ],
)
def test_what_a_run_refuses(flanmix, folder, workplace, here, tmp_path, bindings, match):
    (workplace.folder / "tune.gin").write_text(GIN)
    places = {"small": llama_folder(tmp_path / "small", 256), "broken": tmp_path / "broken"}
    (llama_folder(tmp_path / "broken") / "model.safetensors").write_bytes(b"{}")
    if not any(binding.startswith("INITIALIZE_FROM") for binding in bindings):
        bindings = [f"INITIALIZE_FROM={folder}", *bindings]
    bindings = [binding.format(**places) for binding in bindings]
    error = refused(flanmix, "train", *flags(workplace, "refused", "STEPS=1", *bindings))
    assert match in error
    assert not (workplace.folder / "refused" / "checkpoints").exists()


@pytest.mark.parametrize("activation, mlp", [(None, "gated_gelu"), ("silu", "swiglu")])
def test_a_t5x_checkpoint_takes_the_gate_that_it_is_told(flanmix, tmp_path, activation, mlp):
    sizes = dict(vocab_size=384, d_model=8, d_ff=12, num_heads=2, head_dim=4)
    config = T5Config(**sizes, num_encoder_layers=1, num_decoder_layers=1, mlp=mlp)
    family = FAMILIES["T5"]
    tensors = DictSource(foreign_shapes(family, config)).tensors
    there = tmp_path / "checkpoint_3"
    write_orbax(there, parameters(tensors, family.foreign_config(config)))
    more = [] if activation is None else ["--activation", activation]
    model = tmp_path / "model"
    code, said = flanmix("convert", "from-t5x", there, model, "--vocabulary", "byte", *more)
    assert code == 0, said.err
    assert ("--activation silu" in said.err) == (activation is None)
    assert newest_record(model)["model"]["mlp"] == mlp
    code, said = flanmix("generate", "--checkpoint", model, "--prompt", "a", "--max_new_tokens", 2)
    assert code == 0, said.err
