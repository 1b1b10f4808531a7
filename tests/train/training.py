"""A tiny run for the tests of training: three tasks, a few records, a model of one layer.

A run is a process of its own, as the user's is; compiled programs are shared through a cache, so
that a test pays for them once.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECORDS = 60
CARD = """
name: {name}
version: 1
kind: generation
source: {{jsonl: "."}}
splits: {{train: "{name}.jsonl[:-10]", test: "{name}.jsonl[-10:]"}}
fields: {{text: text}}
answer: answer
templates:
{templates}
metrics: [exact_match]
"""
VERBS = {"repeat": "Repeat: {text}", "shout": "Shout: {text}", "first": "First letter of {text}"}
ANSWERS = {"repeat": str, "shout": str.upper, "first": lambda text: text[0]}
GIN = """
include 'gin/runs/instruct.gin'
include 'gin/models/t5_tiny.gin'
VOCABULARY = 'byte'
MIXTURE = 'tiny'
BATCH_SIZE = 4
INPUTS_LENGTH = 48
TARGETS_LENGTH = 16
STEPS = 6
CHECKPOINT_EVERY = 2
Evaluation.groups = {}
T5Config.vocab_size = 384
T5Config.d_model = 16
T5Config.d_ff = 32
T5Config.num_heads = 2
T5Config.head_dim = 8
T5Config.num_encoder_layers = 1
T5Config.num_decoder_layers = 1
"""


def write_tasks(folder: Path) -> None:
    """Writes the cards and records of the tiny collection, and its mixture."""
    for name, verb in VERBS.items():
        place = folder / "tiny" / "letters"
        place.mkdir(parents=True, exist_ok=True)
        verbs = [verb, f"{verb} .", f"Please. {verb}"]
        templates = "\n".join(f"  - {{inputs: {json.dumps(text)}}}" for text in verbs)
        (place / f"{name}.yaml").write_text(CARD.format(name=name, templates=templates))
        texts = [f"{name[0]}{i * 7919 % 997:03d}" for i in range(RECORDS)]
        lines = [json.dumps({"text": t, "answer": ANSWERS[name](t)}) for t in texts]
        (place / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "tiny" / "mixtures.yaml").write_text('tiny:\n  tasks: ["tiny/*"]\n')


@dataclass
class Workplace:
    """A folder with tasks, a prepared store and a gin file, and the runs in it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def flanmix(self, *arguments: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Runs a verb to its end; checks the exit code unless `check` is None."""
        return self.run(self.command(*arguments), check)

    def run(self, command: list[str], check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Runs a command here to its end; checks the exit code unless `check` is None."""
        done = subprocess.run(
            command,
            env=self.variables(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert check is None or done.returncode == check, done.stderr[-4000:]
        return done

    def command(self, *arguments: str) -> list[str]:
        """The command line of a verb."""
        return [sys.executable, "-m", "flanmix", *arguments]

    def variables(self) -> dict[str, str]:
        """The environment of a run."""
        root = str(Path(__file__).resolve().parents[2])
        return {
            **os.environ,
            "PYTHONPATH": root,
            "FLANMIX_TASKS": str(self.folder / "tasks"),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            **self.environment,
        }

    def train_flags(self, run_dir: str, *gin: str) -> list[str]:
        """The flags of a training run in `run_dir`."""
        named = {binding.partition("=")[0] for binding in gin}
        places = {"RUN_DIR": self.folder / run_dir, "STORE": self.folder / "store"}
        flags = [f"--gin.{name}={path}" for name, path in places.items() if name not in named]
        return ["--gin_file=tiny.gin", *flags, *(f"--gin.{binding}" for binding in gin)]

    def train(self, run_dir: str, *gin: str, check: int | None = 0) -> subprocess.CompletedProcess:
        """Trains to the end."""
        return self.flanmix("train", *self.train_flags(run_dir, *gin), check=check)

    def lines(self, run_dir: str) -> list[dict]:
        """The run's metrics, without what depends on the clock."""
        text = (self.folder / run_dir / "metrics.jsonl").read_text()
        return [
            {key: value for key, value in json.loads(line).items() if key != "tokens_per_second"}
            for line in text.splitlines()
        ]


def make_workplace(folder: Path) -> Workplace:
    """Makes the tasks, prepares them and writes the gin file."""
    write_tasks(folder / "tasks")
    (folder / "tiny.gin").write_text(GIN)
    workplace = Workplace(folder)
    workplace.flanmix("prepare", "tiny", "--store", str(folder / "store"))
    return workplace


def one_error(said: Any) -> str:
    """The one line of a user error among what a verb printed."""
    lines = [line for line in said.err.splitlines() if line.startswith("flanmix: ")]
    assert "Traceback" not in said.err
    return lines[-1]
