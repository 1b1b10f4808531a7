"""Options that are the same tokens: counted by task, and never an answer by chance."""

import json
from dataclasses import replace

import pytest

from flanmix.data.store.store import Store
from flanmix.evaluate.evaluator import EvalTask, evaluate
from flanmix.evaluate.predictor import Choice
from flanmix.pages.text import scores_text
from flanmix.registry.record import Record
from flanmix.registry.template import Template
from tests.evaluate.collection import SPECS, spec

OPTIONS = ("one", "two", "three", "four")


class Says:
    """Chooses an option by number; of each template some options are the same tokens."""

    def __init__(self, option, *first_equal):
        self.option = option
        self.first_equal = first_equal

    def rank(self, pairs):
        return [
            Choice(self.option, self.option, first_equal=self.first_equal[pair.template])
            for pair in pairs
        ]

    def generate(self, pairs):
        raise AssertionError("no task here is generated")


def task(templates=1, metrics=("accuracy",)):
    wordings = [Template(f"{number} {{text}}\n{{options}}") for number in range(templates)]
    return spec(
        "counts", "numbers", wordings, kind="classification", options=OPTIONS, metrics=metrics
    )


@pytest.fixture
def score(tmp_path):
    """Scores one task whose records all have the same right options."""

    def run(predictor, answers, templates=1, metrics=("accuracy",)):
        own = task(templates, metrics)
        store = Store(tmp_path / "store")
        rows = [Record(f"r-{i}", {"text": "t", "note": "n"}, answers, OPTIONS) for i in range(4)]
        store.write(own, "test", rows)
        tasks = [EvalTask(own, tuple(range(templates)), groups={"all": tuple(range(templates))})]
        return evaluate(predictor, tasks, store)

    return run


@pytest.mark.parametrize(
    ("chosen", "answers", "first_equal", "accuracy"),
    [
        (0, ("one",), (), 100.0),
        (0, ("one",), (0, 1, 1, 3), 100.0),  # two wrong ones are equal: it is scored
        (1, ("one",), (0, 1, 1, 3), 0.0),
        (2, ("one",), (0, 1, 1, 3), 0.0),
        (0, ("one", "two"), (0, 0, 2, 3), 100.0),  # two right ones are equal: either is right
        (1, ("one", "two"), (0, 0, 2, 3), 100.0),
        (0, ("one", "two"), (0, 1, 1, 3), 100.0),  # the other right one is equal to a wrong one
        (1, ("one", "two"), (0, 1, 1, 3), 0.0),
        (2, ("one", "two"), (0, 1, 1, 3), 0.0),
    ],
)
def test_only_what_can_be_told_from_a_wrong_option_is_right(
    score, chosen, answers, first_equal, accuracy
):
    scores = score(Says(chosen, first_equal), answers)
    figures = scores.tasks["counts"].mean()
    assert figures == {"accuracy": accuracy, "accuracy_normalized": accuracy}
    assert scores.tasks["counts"].equal_options == (100.0 if first_equal else 0.0)
    assert scores.tasks["counts"].unanswerable == 0.0
    assert {sample.right for sample in scores.samples} == {accuracy == 100.0}


@pytest.mark.parametrize("chosen", range(4))
@pytest.mark.parametrize("metrics", [("accuracy",), ("f1", "accuracy"), ("macro_f1",)])
def test_a_template_whose_questions_have_no_answer_has_no_score(score, chosen, metrics):
    predictor = Says(chosen, (0, 1, 1, 3), ())
    scores = score(predictor, ("two",), templates=2, metrics=metrics)
    counts = scores.tasks["counts"]
    assert set(counts.templates) == {1}
    assert (counts.equal_options, counts.unanswerable) == (50.0, 50.0)
    assert counts.mean()["accuracy"] == (100.0 if chosen == 1 else 0.0)


@pytest.mark.parametrize("chosen", range(4))
def test_a_task_without_an_answerable_question_has_no_score(score, chosen):
    scores = score(Says(chosen, (0, 0, 0, 0)), ("two",))
    document = json.loads(json.dumps(scores.to_json()))
    assert document["tasks"] == {"counts": {}}
    assert document["clusters"] == {}
    assert document["mean"] is None
    assert document["groups"]["all"]["accuracy"] is None
    assert scores.summary() == {"all": None, "majority": None}
    details = document["details"]["counts"]
    assert (details["equal_options"], details["unanswerable"]) == (100.0, 100.0)
    assert not any(sample["right"] for sample in document["samples"])
    shown = scores_text(scores).splitlines()
    assert "options equal %" in shown[0]
    assert shown[1].split()[-2:] == ["100", "100"]


def test_a_task_that_can_be_scored_keeps_the_mean(score, tmp_path):
    scores = score(Says(0, (0, 0, 2, 3)), ("one",))
    other = replace(scores.tasks["counts"], task="other", templates={0: {"accuracy": 40.0}})
    both = replace(scores, tasks={**scores.tasks, "other": other})
    assert both.mean() == 40.0
    assert both.clusters() == {"numbers": 40.0}


def test_questions_that_lose_their_answer_count_as_wrong(tmp_path):
    own = SPECS["own"]
    store = Store(tmp_path / "store")
    rows = [
        Record(f"r-{i}", {"text": "t", "note": "n"}, (right,), ("a", "b", "c"))
        for i, right in enumerate("abca")
    ]
    store.write(own, "test", rows)

    class Equal(Says):
        def rank(self, pairs):
            return [Choice(0, 0, first_equal=(0, 1, 1)) for _ in pairs]

    scores = evaluate(Equal(0), [EvalTask(own, (0,))], store)
    assert scores.tasks["own"].mean()["accuracy"] == 50.0
    assert scores.tasks["own"].unanswerable == 50.0
