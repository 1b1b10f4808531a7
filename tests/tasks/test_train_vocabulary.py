"""The script that trains a vocabulary on a mixture's text."""

import subprocess
import sys
from pathlib import Path

from flanmix.data.sources.records import canonical_records
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import load_vocabulary
from flanmix.registry.catalogue import default_catalogue

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "train_vocabulary.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parent.parent)


def test_a_vocabulary_of_a_mixtures_text(tmp_path: Path):
    store, catalogue = Store(tmp_path / "store"), default_catalogue()
    for name in catalogue.expand("pocket_unseen_tasks"):
        spec = catalogue.task(name)
        with store.preparing(spec) as writing:
            for split in ("train", "validation", "test"):
                writing.write(split, canonical_records(spec, split, limit=80))
    arguments = ["pocket_unseen_tasks", "--store", str(store.root), "--size", "400"]
    models = [tmp_path / "a.model", tmp_path / "b.model"]
    for model in models:
        done = run(*arguments, "--samples", "300", "--output", str(model))
        assert done.returncode == 0, done.stderr
    assert models[0].read_bytes() == models[1].read_bytes()
    vocabulary = load_vocabulary(str(models[0]))
    assert (vocabulary.size, vocabulary.pad_id, vocabulary.eos_id) == (400, 0, 1)
    text = "Is it so?\nOptions:\n- yes\n- no — 日本 {x}"
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert "\n-" in vocabulary.pieces(vocabulary.encode("\n- yes"))


def test_a_mixture_that_is_not_prepared_is_one_line(tmp_path: Path):
    done = run("pocket", "--store", str(tmp_path), "--output", str(tmp_path / "a.model"))
    assert done.returncode == 1
    assert done.stderr.startswith("train_vocabulary: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "a.model").exists()
