"""A task that is registered with plain SeqIO: from its module to a trained, scored model."""

import json

import pytest

pytest.importorskip("seqio", reason="SeqIO is not installed")

MODULE = """
import seqio
import tensorflow as tf

FEATURE = seqio.Feature(seqio.ByteVocabulary(), add_eos=True)

def rows(split, shuffle_files, seed=None):
    numbers = range({"train": 20, "test": 5}[split])
    inputs = [f"double: {n} {split}" for n in numbers]
    targets = [f"{n}{n}" for n in numbers]
    return tf.data.Dataset.from_tensor_slices({"inputs": inputs, "targets": targets})

seqio.TaskRegistry.add(
    "their_doubles",
    source=seqio.FunctionDataSource(rows, ["train", "test"]),
    preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    output_features={"inputs": FEATURE, "targets": FEATURE},
)
"""
CARD = """
name: doubles
version: 1
kind: generation
source: {seqio: "their_tasks:their_doubles"}
splits: {train: train, test: test}
fields: [inputs]
answer: targets
templates: [{inputs: "{inputs}"}]
metrics: [exact_match]
"""


def test_a_foreign_task_is_prepared_trained_and_scored(workplace):
    place = workplace.folder / "tasks" / "theirs" / "numbers"
    place.mkdir(parents=True)
    (place / "their_tasks.py").write_text(MODULE)
    (place / "doubles.yaml").write_text(CARD)
    store = str(workplace.folder / "store")
    done = workplace.flanmix("prepare", "doubles", "--store", store, "--json")
    counts = {row["split"]: row["records"] for row in json.loads(done.stdout)["prepared"]}
    assert counts == {"train": 20, "test": 5}
    (pair, *_) = json.loads(workplace.flanmix("show", "doubles", "--store", store, "--json").stdout)
    assert pair["inputs"].startswith("double: ")

    workplace.train("doubles", "MIXTURE=doubles", "STEPS=2", "Evaluation.groups={'all': 'doubles'}")
    lines = workplace.lines("doubles")
    assert [line["step"] for line in lines] == [1, 2]
    assert set(lines[0]["tasks"]) == {"doubles"}
    scores = json.loads((workplace.folder / "doubles" / "scores.json").read_text())
    assert scores["details"]["doubles"]["examples"] == 5
