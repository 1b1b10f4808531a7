"""Four small tasks in a store, and predictors that need no model."""

from collections.abc import Sequence
from pathlib import Path

from flanmix.data.render import TextExample
from flanmix.data.store.store import Store
from flanmix.evaluate.predictor import Answer, Choice
from flanmix.registry.mixture import Mixture, MixtureTask
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template
from tests.collections import small_task, words

SPLITS = {"train": None, "validation": "v.jsonl", "test": "t.jsonl"}


def spec(name: str, cluster: str, templates: Sequence[Template], **changes) -> TaskSpec:
    return small_task(name, templates, cluster=cluster, splits=SPLITS, **changes)


ASK = (Template("Say: {text}\n{options}"), Template("{choices}? {text}", "It is {answer}"))
TELL = (
    Template("Tell of {text}"),
    Template("{text}. {note}"),
    Template("Now {text}", "<{answer}>"),
)
TURNED = Template("What is {answer}?", "{text}", inverted=True)

SPECS = {
    task.name: task
    for task in (
        spec(
            "fixed",
            "choosing",
            (*ASK, TURNED),
            kind="classification",
            options=("no", "yes"),
            metrics=("f1", "accuracy"),
        ),
        spec(
            "own",
            "choosing",
            ASK,
            kind="classification",
            option_fields=("a", "b", "c"),
            metrics=("accuracy",),
        ),
        spec("copied", "telling", (*TELL, TURNED), metrics=("rouge", "bleu", "squad")),
        spec("several", "telling", TELL, metrics=("trivia_qa", "exact_match", "edit_distance")),
    )
}


def records(task: TaskSpec, split: str, count: int) -> list[Record]:
    made = []
    for i in range(count):
        some = words(i, 5 + i % 3)
        options = task.options
        if task.name == "own":
            options = (f"{some[0]} a", f"{some[1]} b", f"{some[2]} c")
        if options:
            answers = (options[i * i % len(options)],)
        elif task.name == "copied":
            answers = (" ".join(some),)
        else:
            answers = (some[0], some[1] + " " + some[2])
        fields = {"text": " ".join(some), "note": f"note {i}" if i % 3 else ""}
        made.append(Record(f"{split}-{i}", fields, answers, options))
    return made


def prepare(root: Path, count: int = 12) -> Store:
    store = Store(root)
    for task in SPECS.values():
        for split in ("validation", "test"):
            store.write(task, split, records(task, split, count))
    return store


def mixture(name: str, tasks: Sequence[str], templates: Sequence[int] | None = None) -> Mixture:
    members = []
    for task in sorted(tasks):
        numbers = templates or range(len(SPECS[task].templates))
        members.append(MixtureTask(SPECS[task], 1.0, 1, tuple(numbers)))
    return Mixture(name, tuple(members))


class Oracle:
    """Knows every answer; `wrong` templates get none right."""

    def __init__(self, wrong: Sequence[int] = ()) -> None:
        self.wrong = wrong
        self.asked: list[TextExample] = []

    def rank(self, pairs: Sequence[TextExample]) -> list[Choice]:
        self.asked += pairs
        choices = []
        for pair in pairs:
            right = pair.options.index(pair.targets)
            option = (right + (pair.template in self.wrong)) % len(pair.options)
            choices.append(Choice(option, right))
        return choices

    def generate(self, pairs: Sequence[TextExample]) -> list[Answer]:
        self.asked += pairs
        return [
            Answer("" if pair.template in self.wrong else pair.references[-1]) for pair in pairs
        ]
