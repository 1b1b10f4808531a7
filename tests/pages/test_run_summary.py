"""What sums a run up, from the files that it left."""

import json
from pathlib import Path

import pytest

from flanmix.pages.run_summary import bindings, duration, read_run

CONFIG = """\
# Macros:
BATCH_SIZE = 2
INPUTS_LENGTH = 100
TARGETS_LENGTH = 40
MODEL = @T5Config()

# Parameters for Evaluation:
Evaluation.groups = \\
    {'a': 'x',
     'b': 'y'}
Schedule.kind = 'rsqrt'
Schedule.warmup = 10
VOCABULARY = 'pocket'
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    line = {"step": 1, "loss": 2.0, "target_tokens": 10, "decoder_fill": 0.5, "examples": 8}
    line |= {"tokens_per_second": 10.0, "learning_rate": 0.25, "inputs_trimmed": 2}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "config.gin").write_text(CONFIG)
    return tmp_path


def test_the_bindings_of_a_configuration() -> None:
    found = bindings(CONFIG)
    assert found["Evaluation.groups"] == "{'a': 'x', 'b': 'y'}"
    assert found["Schedule.kind"] == "'rsqrt'"
    assert found["VOCABULARY"] == "'pocket'"
    assert len(found) == 8


def test_settings_and_measures(run_dir: Path) -> None:
    for step, width in ((5, 2), (10, 3)):
        folder = run_dir / "checkpoints" / str(step) / "run"
        folder.mkdir(parents=True)
        arrays = {"params/a": ["float32", [width, 4], 1], "params/b": ["float32", [], 1]}
        arrays["optimizer/a"] = ["float32", [9], 1]
        (folder / "metadata").write_text(json.dumps({"arrays": arrays}))
    run = read_run(run_dir)
    assert dict(run.settings) == {
        "model": "T5Config",
        "vocabulary": "pocket",
        "batch size": "2",
        "inputs length": "100",
        "targets length": "40",
        "schedule": "rsqrt, warmup 10",
    }
    assert dict(run.measures) == {
        "parameters": "13",
        "steps": "1",
        "loss at the end": "2.000",
        "learning rate, peak": "0.25",
        "tokens": "140",
        "target tokens": "10",
        "duration without evaluations": "14 s",
        "tokens per second": "10",
        "examples": "8",
        "inputs truncated": "25.0%",
        "targets truncated": "0.0%",
    }
    (folder / "metadata").write_text('{"arr')
    assert dict(read_run(run_dir).measures)["parameters"] == "9"  # the one before it


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            '{"tasks": {"a": {"inputs": 0.1, "targets": 0}, "b": {"inputs": 0, "targets": 0.2}}}',
            ["b", "a"],
        ),
        ('{"tasks": {"a": {"inputs": 0, "targets": 0}}}', []),
        ('{"tasks": 3}', []),
        ("[", []),
    ],
)
def test_what_is_truncated_the_worst_first(text: str, found: list[str], run_dir: Path) -> None:
    (run_dir / "truncation.json").write_text(text)
    assert list(read_run(run_dir).truncation) == found


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (7500, "2 h 5 min"), (4 * 86400, "4 d 0 h")],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
