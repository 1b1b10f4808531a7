"""A small mixture in a store, with all that can differ between examples: for the loader's tests."""

from flanmix.data.store.store import Store
from flanmix.registry.mixture import Mixture, MixtureTask
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template
from tests.collections import small_task, words


def _words(number: int, count: int) -> str:
    return " ".join(words(number, count))


VERBS = tuple(
    Template(f"{verb} this text: {{text}}{end}")
    for verb, end in (("Answer", ""), ("Treat", "\nGo on."), ("Do", " ({note})"))
)


def specs() -> list[TaskSpec]:
    """Generation with several references, classification with an inverted template, long inputs."""
    choose = (
        Template("Which is it? {text}\n{options}"),
        Template("{text}: {choices}?"),
        Template("Write what is {answer}.", "{text}", inverted=True),
    )
    return [
        small_task("choose", choose, kind="classification", options=("yes", "no")),
        small_task("long", VERBS),
        small_task("many", VERBS),
        small_task("tiny", VERBS),
    ]


def records(spec: TaskSpec, split: str = "train") -> list[Record]:
    """The task's records: 3 of `tiny`, 40 to 200 of the others."""
    size = {"choose": 60, "long": 40, "many": 200, "tiny": 3}[spec.name]
    made = []
    for i in range(size):
        answers = (_words(i + 3, 1 + i % 4),)
        if spec.name == "many":
            answers += (_words(i, 2), _words(i + 1, 3))
        if spec.has_options:
            answers = (spec.options[i % 2],)
        text = f"{split} {i} {_words(i, 30 if spec.name == 'long' else 2 + i % 7)}"
        fields = {"text": text, "note": f"note {i}" if i % 3 else ""}
        made.append(Record(f"{split}-{i}", fields, answers, spec.options))
    return made


def prepare(root, few_shot: int = 2, share: float = 0.5) -> tuple[Mixture, Store]:
    """Writes the tasks into a store and mixes them at uneven rates."""
    store = Store(root)
    tasks = []
    rates = {"choose": 100.0, "long": 35.5, "many": 200.0, "tiny": 1.0}
    for spec in specs():
        for split in ("train", "test"):
            store.write(spec, split, records(spec, split))
        few = spec.name != "tiny" and few_shot
        tasks.append(
            MixtureTask(
                spec,
                rates[spec.name],
                len(records(spec)),
                tuple(range(len(spec.templates))),
                loss_weight=0.5 if spec.name == "long" else 1.0,
                few_shot=few_shot if few else 0,
                few_shot_share=share if few else 0.0,
            )
        )
    return Mixture("small", tuple(tasks)), store
