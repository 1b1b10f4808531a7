"""A trained checkpoint is evaluated and asked, in a process that has no TensorFlow."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboardX.proto import event_pb2

from flanmix import cli
from flanmix.data.store.store import Store
from flanmix.evaluate.evaluator import eval_tasks, evaluate
from flanmix.evaluate.scores import read_step
from flanmix.pages.text import scores_text
from flanmix.registry.card import load_card
from flanmix.registry.record import Record
from tests.conftest import ROOT
from tests.evaluate.collection import Oracle, mixture, prepare

CARDS = {
    "parity": """
kind: classification
options: ["so even", "so odd"]
templates:
  - inputs: "Is {text} even or odd?"
  - inputs: "{text}\\n{options}"
metrics: [accuracy]
""",
    "echo": """
kind: generation
templates:
  - inputs: "Say {text}"
metrics: [exact_match]
""",
    "unprepared": """
kind: generation
templates:
  - inputs: "Tell {text}"
metrics: [exact_match]
""",
}
COMMON = """
name: {name}
version: 1
source: {{jsonl: "."}}
splits: {{train: "r.jsonl", validation: "v.jsonl", test: "t.jsonl"}}
fields: {{text: text}}
answer: answer
"""
MIXTURES = """
both: {tasks: [parity, echo]}
more: {tasks: [both, unprepared]}
shots: {tasks: [parity], few_shot: 2, few_shot_share: 0.5}
nested: {tasks: [echo, shots]}
"""
GIN = """
include 'gin/runs/instruct.gin'
MODEL = @T5Config()
T5Config.vocab_size = 384
T5Config.d_model = 16
T5Config.d_ff = 16
T5Config.num_heads = 2
T5Config.head_dim = 8
T5Config.num_encoder_layers = 1
T5Config.num_decoder_layers = 1
VOCABULARY = 'byte'
MIXTURE = 'both'
STEPS = 2
BATCH_SIZE = 4
INPUTS_LENGTH = 48
TARGETS_LENGTH = 8
"""
# Runs verbs one after another in one process; what each prints is ended by its exit code and \x1e.
DRIVER = """
import sys
from flanmix import cli
for line in sys.stdin:
    print(cli.main(line.split("|")[:-1]), end="\\x1e", flush=True)
print(sorted({"tensorflow", "seqio", "t5"} & set(sys.modules)))
"""


def make_tasks(root: Path) -> Path:
    """Writes cards and a store; returns the store's folder."""
    store = Store(root / "store")
    for name, body in CARDS.items():
        path = root / "tasks" / "tiny" / "all" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(COMMON.format(name=name) + body)
        spec = load_card(path)
        for split in ("train", "validation", "test") if name != "unprepared" else ():
            rows = []
            for i in range(12):
                answers = (spec.options[i % 2],) if spec.options else (str(i),)
                rows.append(Record(f"{split}-{i}", {"text": str(i)}, answers, spec.options))
            store.write(spec, split, rows)
    (root / "tasks" / "tiny" / "mixtures.yaml").write_text(MIXTURES)
    (root / "tiny.gin").write_text(GIN)
    return store.root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with tasks, store and a trained run, and what the verbs printed."""
    root = tmp_path_factory.mktemp("trained")
    make_tasks(root)
    gin = [f"--gin_file={root / 'tiny.gin'}", f"--gin.STORE={root / 'store'}"]
    gin += [f"--gin.RUN_DIR={root / 'run'}", "--gin.Evaluation.selection=4"]
    (root / "prompts.txt").write_text("Say 3\n\nSay {text} \u00e9\n")
    verbs = [
        ["train", *gin],
        ["evaluate", *gin, "--json"],
        ["evaluate", *gin, "--gin.MIXTURE='more'", "--gin.ALLOW_MISSING=True", "--json"],
        ["evaluate", *gin, "--gin.Evaluation.groups={'ours': 'parity'}"],
        ["evaluate", *gin, "--gin.Evaluation.groups={'ours': 'parity'}", "--gin.TARGETS_LENGTH=4"],
        ["generate", "--checkpoint", str(root / "run"), "--prompt", "Is 3 odd?", "Say" + " 1" * 90,
         "--input", str(root / "prompts.txt"), "--json"],
    ]  # fmt: skip
    environment = {
        "FLANMIX_TASKS": str(root / "tasks"),
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # the programs are many and run once
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input="".join("|".join(verb) + "|\n" for verb in verbs),
        env={**os.environ, **environment},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return root, done.stdout, done.stderr


def test_a_checkpoint_is_evaluated_and_asked_without_tensorflow(trained):
    _, output, errors = trained
    *verbs, loaded = output.split("\x1e")
    assert [verb[-1] for verb in verbs] == ["0"] * 6, errors
    assert loaded == "[]\n"
    scores, partial, texts = (json.loads(verbs[i][:-1]) for i in (1, 2, 5))
    assert scores["step"] == partial["step"] == 2
    assert set(scores["tasks"]) == {"parity", "echo"}
    assert scores["clusters"].keys() == {"all"}
    assert scores["mean"] == pytest.approx(scores["clusters"]["all"])
    assert set(scores["details"]["parity"]["templates"]) == {"0", "1"}
    assert scores["details"]["parity"]["best"]["template"] in (0, 1)
    assert scores["details"]["parity"]["baseline"] == {"accuracy": 50.0}
    assert partial["missing"] == ["unprepared"]
    assert {task["seen"] for task in scores["details"].values()} == {"task"}
    assert partial["tasks"] == scores["tasks"]
    assert [text["prompt"] for text in texts] == [
        "Is 3 odd?",
        "Say" + " 1" * 90,
        "Say 3",
        "Say {text} \u00e9",
    ]
    assert all(isinstance(text["text"], str) for text in texts)
    assert "prompt 2 is too long and was truncated" in errors


def test_a_run_without_groups_evaluates_its_own_mixture(trained):
    root, output, errors = trained
    (said,) = [line for line in errors.splitlines() if "no Evaluation.groups" in line]
    assert said == (
        "flanmix: no Evaluation.groups: evaluates its own mixture, 2 of 2 tasks, at most 100 "
        "records of each"
    )
    scores = json.loads(output.split("\x1e")[1][:-1])
    assert set(scores["groups"]) == {"both"}
    kept = read_step(root / "run", 2)
    # `evaluate` found what the training had, and replaced it with the same.
    assert kept["groups"]["both"] == scores["groups"]["both"]


def points(folder):
    """Every point of every event file in a folder: (name, step, value)."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack_from("<Q", data)
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


def test_what_evaluate_finds_is_kept_with_the_run(trained):
    root, _, errors = trained
    kept = json.loads((root / "run" / "scores.json").read_text())
    assert [path.name for path in (root / "run" / "scores").iterdir()] == ["000000002.json"]
    assert list(kept["groups"]) == ["both", "more", "ours"]
    assert set(kept["tasks"]) == {"parity", "echo"}
    assert kept["groups"]["more"]["tasks"].keys() == {"parity", "echo"}
    assert kept["missing"] == ["unprepared"]
    drawn = points(root / "run" / "eval")
    assert len(drawn) == len({(name, step) for name, step, _ in drawn})
    assert {(name, step) for name, step, _ in drawn} == {
        (f"score/{name}", 2)
        for name in (
            *("mean", "group/both", "group/more", "cluster/all", "task/echo"),
            # not `ours` and `parity`: the last evaluation could not tell their options apart
        )
    }
    assert dict((name, value) for name, _, value in drawn)["score/group/both"] == pytest.approx(
        kept["groups"]["both"]["mean"]
    )
    page = (root / "run" / "report.html").read_text()
    assert "100% of questions without an answer" in page
    assert f"scores: {root / 'run' / 'scores.json'}, report: " in errors


def test_what_was_cut_is_said_in_a_line_and_a_column(trained):
    _, output, errors = trained
    whole, cut = (output.split("\x1e")[i] for i in (3, 4))
    assert "cut" not in whole
    header, row = cut.splitlines()[:2]
    assert header.split("records")[1].split("%")[:3] == [
        "  targets cut ",
        "  options equal ",
        "  unanswerable ",
    ]
    assert row.split()[-3:] == ["100", "100", "100"]
    assert "options or answers were cut in 100% of the questions of task 'parity'" in errors
    assert "options were the same tokens in 100% of the questions of task 'parity'" in errors


@pytest.fixture
def verb(trained, monkeypatch, capsys):
    """Runs a verb here and returns its exit code and its lines on stderr."""
    root = trained[0]
    monkeypatch.setenv("FLANMIX_TASKS", str(root / "tasks"))
    monkeypatch.chdir(root)

    def run(*argv: str) -> tuple[int, str]:
        code = cli.main(list(argv))
        return code, capsys.readouterr().err

    return run


def test_mistakes_are_one_line(trained, verb):
    root = trained[0]
    gin = ["evaluate", f"--gin_file={root / 'tiny.gin'}", f"--gin.STORE={root / 'store'}"]
    code, said = verb(*gin, f"--gin.RUN_DIR={root / 'run'}", "--gin.MIXTURE='more'")
    assert (code, said.count("\n")) == (2, 1)
    assert "unprepared" in said
    assert "flanmix prepare" in said
    code, said = verb(*gin, f"--gin.RUN_DIR={root / 'nowhere'}")
    assert (code, said.count("\n")) == (2, 1)
    assert "there is no checkpoint" in said
    code, said = verb(*gin, f"--gin.RUN_DIR={root / 'run'}", "--gin.T5Config.d_ff=32")
    assert (code, said.count("\n")) == (2, 1)
    assert "of another model" in said
    code, said = verb(*gin, f"--gin.RUN_DIR={root / 'run'}", "--gin.VOCABULARY='pocket'")
    assert (code, said.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("verb_name", "flag"),
    [
        ("evaluate", "--gin.Evaluation.groups={'x': 'shots'}"),
        ("evaluate", "--gin.Evaluation.groups={'y': 'both', 'x': 'nested'}"),
        ("evaluate", "--gin.MIXTURE='shots'"),
        ("train", "--gin.Evaluation.groups={'x': 'nested'}"),
    ],
)
def test_exemplars_are_refused_until_an_evaluation_can_show_them(trained, verb, verb_name, flag):
    root = trained[0]
    gin = [f"--gin_file={root / 'tiny.gin'}", f"--gin.STORE={root / 'store'}"]
    folder = "run" if verb_name == "evaluate" else "new"
    code, said = verb(verb_name, *gin, f"--gin.RUN_DIR={root / folder}", flag)
    assert (code, said.count("\n")) == (2, 1)
    assert "shows 2 exemplars (few_shot) of task 'parity'" in said
    assert not (root / "new").exists()


def test_scores_are_shown_as_a_table(tmp_path):
    store = prepare(tmp_path)
    tasks = eval_tasks({"all": mixture("all", ["own", "several"])}, trained={"several": "sums"})
    text = scores_text(evaluate(Oracle(wrong=[1]), tasks, store))
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["own"][1:5] == ["choosing", "accuracy", "66.67", "50"]
    assert "the task" in " ".join(lines["several"])
    assert "mean over 2 tasks" in text
