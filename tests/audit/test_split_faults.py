"""What only a split as a whole shows is said of it, once."""

from pathlib import Path

from flanmix.audit.records import record_problems
from flanmix.data.store.store import Store
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template
from tests.data.tasks import toy

OPTIONS = ("no", "yes")


def chooses(**changes: object) -> TaskSpec:
    return toy(
        kind="classification",
        options=OPTIONS,
        metrics=("accuracy",),
        splits={"train": "train.jsonl", "test": "test.jsonl"},
        templates=(Template("{question} {options}"),),
        **changes,
    )


def record(number: int, answer: str, question: str = "", split: str = "train") -> Record:
    fields = {"question": question or f"{split} {number}?"}
    return Record(f"{split}-{number}", fields, (answer,), OPTIONS)


def said(tmp_path: Path, task: TaskSpec, **splits: list[Record]) -> list[str]:
    store = Store(tmp_path / "store")
    with store.preparing(task) as writing:
        for split, records in splits.items():
            writing.write(split, records)
    return [problem.message for problem in record_problems(store, task)]


def test_a_split_with_one_answer_alone(tmp_path: Path):
    train = [record(number, OPTIONS[number % 2]) for number in range(6)]
    test = [record(number, "no", split="test") for number in range(5)]
    assert said(tmp_path, chooses(), train=train, test=test) == [
        "split test has one answer alone, 'no', in 5 records"
    ]


def test_one_question_with_two_answers(tmp_path: Path):
    train = [record(0, "no", "So?"), record(1, "yes", "So?"), record(2, "no", "So?")]
    test = [record(0, "yes", "So?", "test"), record(1, "no", "Why?", "test")]
    assert said(tmp_path, chooses(), train=train, test=test) == [
        "split train: 1 records ask what another one asks and have another answer: "
        "train-1 'yes', train-0 'no'",
        "split test: 1 records ask what another one asks and have another answer: "
        "test-0 'yes', train-0 'no'",
    ]


def test_rouge_on_writing_that_it_can_not_read(tmp_path: Path):
    rows = [Record(f"train-{n}", {"question": f"{n}?"}, (f"今天天气很好 {n}",)) for n in range(4)]
    task = toy(metrics=("rouge",), splits={"train": "train.jsonl"})
    assert said(tmp_path, task, train=rows) == [
        "split train: metric 'rouge' reads Latin letters and digits alone, which 4 of 4 answers "
        "are not: use rouge_unicode"
    ]
    chosen = toy(name="other", metrics=("rouge_unicode",), splits={"train": "train.jsonl"})
    assert said(tmp_path, chosen, train=rows) == []


def test_an_optional_field_that_no_record_has(tmp_path: Path):
    fields = {"question": "question", "context": "contxt"}
    task = toy(fields=fields, optional=("context",), splits={"train": "train.jsonl"})
    rows = [Record(f"train-{n}", {"question": f"{n}?", "context": ""}, ("a",)) for n in range(3)]
    assert said(tmp_path, task, train=rows) == [
        "field 'context' (contxt) is empty in every record: is it the path?"
    ]
