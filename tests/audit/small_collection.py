"""A collection of three tasks whose examples differ in length, its mixtures and its store."""

from pathlib import Path

from flanmix.data.store.store import Store
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.record import Record
from tests.collections import words

CARD = """
name: {name}
version: 1
kind: generation
source: {{jsonl: "."}}
splits: {{train: train.jsonl, test: test.jsonl}}
fields: {{text: text, note: note}}
optional: [note]
answer: answer
templates:
  - inputs: "Do it: {{text}}"
  - inputs: "{{text}} What then?"
metrics: [exact_match]
"""
MIXTURES = """
all: {tasks: [lengths], rate: explicit, rates: {brief: 2, gist: 1, passage: 1}}
few: {tasks: [brief, alike], rate: equal, few_shot: 3, few_shot_share: 0.5}
"""
# task -> words of a text, words of an answer, records
SIZES = {"brief": (3, 1, 90), "gist": (4, 30, 60), "passage": (40, 2, 120), "alike": (2, 1, 40)}


def make(folder: Path) -> tuple[Catalogue, Store]:
    """Writes cards and mixtures, and the tasks' records straight into a store."""
    tasks = folder / "tasks" / "mine"
    store = Store(folder / "store")
    for name in SIZES:
        place = tasks / ("twins" if name == "alike" else "lengths")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.yaml").write_text(
            CARD.replace("{name}", name).replace("{{", "{").replace("}}", "}")
        )
    text = MIXTURES.replace("tasks: [lengths]", "tasks: [mine/lengths]")
    (tasks / "mixtures.yaml").write_text(text)
    catalogue = Catalogue([folder / "tasks"])
    for name, (text_words, answer_words, count) in SIZES.items():
        made = []
        for i in range(count):
            # Of `alike` there are three texts, written in many ways.
            which = i % 3 if name == "alike" else i
            some = words(which, text_words + which * 37 % text_words)
            text = " ".join([f"{name} {which}{' ' * (i % 7)}", *some])
            fields = {"text": text.upper() if i % 2 else text, "note": ""}
            made.append(Record(f"train-{i}", fields, (" ".join(words(i, answer_words)),)))
        store.write(catalogue.task(name), "train", made)
        store.write(catalogue.task(name), "test", made[:5])
    return catalogue, store
