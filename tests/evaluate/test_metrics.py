"""Our metrics against t5's own functions, on chosen and on random texts."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.errors import UserError
from flanmix.evaluate import metrics

# numpy's fixed-width strings drop trailing NULs, so sklearn calls "a\0" and "a" equal.
WORDS = st.text(
    st.sampled_from("ab .,'!\n\tthe0‘é漢🙂{}")
    | st.characters(exclude_characters="\0", codec="utf-8"),
    max_size=20,
)
PAIRS = st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=3), WORDS), min_size=1, max_size=5)
SENTENCES = [
    (
        ("The cat sat on the mat . It slept .", "A cat sat on a mat"),
        "the cat sat on a mat . it ate .",
    ),
    (("Eleven dogs run in the green park today",), "Ten dogs run in a park"),
    (("Nobody knows the answer to this question",), "Nobody knows the answer to this question"),
]


@pytest.fixture(scope="module")
def t5():
    """t5's metrics; imported here, so that collecting this file does not load TensorFlow."""
    return pytest.importorskip("t5.evaluation.metrics", reason="t5 is not installed")


def split(pairs):
    return [tuple(references) for references, _ in pairs], [prediction for _, prediction in pairs]


def approx(figures):
    return pytest.approx({key: float(value) for key, value in figures.items()}, abs=1e-9)


def test_every_twin_is_a_function_of_t5(t5):
    for metric in metrics.METRICS.values():
        assert callable(metric.function)
        assert metric.t5 is None or callable(getattr(t5, metric.t5))


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_texts_score_as_in_t5(t5, pairs):
    references, predictions = split(pairs)
    every = [list(r) for r in references]
    first = [r[0] for r in references]
    single = [(text,) for text in first]
    assert metrics.squad(references, predictions) == approx(t5.squad(every, predictions))
    assert metrics.trivia_qa(references, predictions) == approx(t5.trivia_qa(every, predictions))
    assert metrics.accuracy(single, predictions) == approx(t5.accuracy(first, predictions))
    assert metrics.exact_match(single, predictions)["exact_match"] == pytest.approx(
        t5.sequence_accuracy(first, predictions)["sequence_accuracy"]
    )
    assert metrics.bleu(single, predictions) == approx(t5.bleu(first, predictions))
    assert metrics.edit_distance(single, predictions) == approx(
        t5.edit_distance(first, predictions)
    )


def rouge_without_resampling(t5, monkeypatch, first, predictions):
    scoring = importlib.import_module("rouge_score.scoring")

    def means(self, matrix):
        return np.tile(matrix.mean(axis=0), (3, 1))

    monkeypatch.setattr(scoring.BootstrapAggregator, "_bootstrap_resample", means)
    return t5.rouge(first, predictions)


def test_rouge_is_the_middle_of_t5s_resampling(t5, monkeypatch):
    references, predictions = split(SENTENCES)
    first = [r[0] for r in references]
    ours = metrics.rouge([(text,) for text in first], predictions)
    np.random.seed(0)
    assert ours == pytest.approx(t5.rouge(first, predictions), abs=3.0)
    assert ours == approx(rouge_without_resampling(t5, monkeypatch, first, predictions))


@settings(max_examples=30, deadline=None)
@given(PAIRS)
def test_rouge_of_random_texts(t5, pairs):
    references, predictions = split(pairs)
    first = [r[0] for r in references]
    with pytest.MonkeyPatch.context() as patch:
        theirs = rouge_without_resampling(t5, patch, first, predictions)
    assert metrics.rouge([(text,) for text in first], predictions) == approx(theirs)
    best = metrics.rouge(references, predictions)
    for key, value in theirs.items():
        assert best[key] >= value - 1e-9


def test_bleu_of_several_references(t5):
    references, predictions = split(SENTENCES)
    equal = [(r[0], r[-1]) for r in references]
    streams = [list(stream) for stream in zip(*equal, strict=True)]
    assert metrics.bleu(equal, predictions) == approx(t5.bleu(streams, predictions))
    repeated = metrics.bleu(equal, predictions)["bleu"]
    assert metrics.bleu(references, predictions)["bleu"] == pytest.approx(repeated)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=12))
def test_classes_score_as_in_t5(t5, pairs):
    options = ("yes", "no", "maybe")
    text = (*options, "neither")
    truth, guess = map(list, zip(*pairs, strict=True))
    references, predictions = [(text[i],) for i in truth], [text[i] for i in guess]
    theirs = t5.mean_multiclass_f1(3, zero_division=0)(truth, guess)["mean_3class_f1"]
    assert metrics.macro_f1(references, predictions, options)["macro_f1"] == pytest.approx(theirs)
    assert metrics.f1(references, predictions, options)["f1"] == pytest.approx(theirs)
    two = [i % 2 for i in truth]
    binary = metrics.f1([(text[i],) for i in two], predictions, options[:2])["f1"]
    assert binary == pytest.approx(t5.f1_score_with_invalid(two, guess)["f1"])


def test_classes_without_options_are_alphabetical():
    references = [("yes",), ("no",), ("yes",), ("no",)]
    predictions = ["yes", "yes", "no", "no"]
    assert metrics.f1(references, predictions) == metrics.f1(references, predictions, ("no", "yes"))
    assert metrics.f1([("yes", "no")], ["no"], ("yes", "no")) == {"f1": 100.0}
    with pytest.raises(UserError, match="none of the options"):
        metrics.f1([("perhaps",)], ["no"], ("yes", "no"))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.floats(-1, 5)), min_size=3, max_size=12))
def test_correlations_score_as_in_t5(t5, pairs):
    truth, guess = map(list, zip(*pairs, strict=True))
    references, predictions = [(repr(x),) for x in truth], [repr(x) for x in guess]
    if np.std(truth) < 1e-3 or np.std(guess) < 1e-3:
        return  # undefined there, 0 here
    theirs = t5.pearson_corrcoef(truth, guess)["pearson_corrcoef"]
    assert metrics.pearson(references, predictions)["pearson"] == pytest.approx(theirs, abs=1e-4)
    theirs = t5.spearman_corrcoef(truth, guess)["spearman_corrcoef"]
    assert metrics.spearman(references, predictions)["spearman"] == pytest.approx(theirs, abs=1e-4)


def test_a_text_that_is_no_number_counts_as_minus_one():
    references = [("1",), ("2",), ("3",)]
    assert metrics.pearson(references, ["1", "two", "3"]) == metrics.pearson(
        references, ["1", "-1", "3"]
    )
    assert metrics.pearson(references, ["4", "4", "4"]) == {"pearson": 0.0}


def test_the_oracle_scores_100():
    texts = ["one two three four five", "six seven eight nine", "ten eleven twelve one two"]
    references = [(text, "something else entirely") for text in texts]
    every = ["accuracy", "exact_match", "squad", "trivia_qa", "rouge", "bleu"]
    figures = metrics.score(every, references, texts)
    assert list(figures.values()) == pytest.approx([100.0] * len(figures))
    assert metrics.edit_distance(references, texts)["sum_edit"] == 0.0
    numbers = [("1.5",), ("2.5",), ("0.25",)]
    figures = metrics.score(["pearson", "spearman"], numbers, [n for (n,) in numbers])
    assert list(figures.values()) == pytest.approx([100.0, 100.0])
    labels = [("yes",), ("no",), ("maybe",)]
    options = ("yes", "no", "maybe")
    figures = metrics.score(["f1", "macro_f1"], labels, [a for (a,) in labels], options)
    assert set(figures.values()) == {100.0}


def test_two_metrics_with_one_key_are_both_kept():
    figures = metrics.score(["squad", "trivia_qa"], [("New-York",)], ["New York"])
    assert figures["em"] == 0.0
    assert figures["trivia_qa_em"] == 100.0


def test_an_unknown_metric_is_one_line_with_the_nearest_name():
    with pytest.raises(UserError, match="'rogue' is unknown; did you mean 'rouge'"):
        metrics.score(["rogue"], [("a",)], ["a"])
    assert metrics.primary_key(["edit_distance", "squad"]) == "f1"
    assert metrics.primary_key(["edit_distance"]) == ""


@pytest.mark.parametrize(
    ("reference", "prediction", "rouge1"),
    [
        ("Привет, мир!", "привет мир", 100),
        ("今天天气很好", "今天天气很好", 100),
        ("今天天气", "今天", 200 / 3),
        ("สวัสดี", "สวัสดี", 100),
        ("नमस्ते दुनिया", "नमस्ते", 200 / 3),
        ("cafe\u0301", "café", 100),
        ("The cat sat.", "the cat", 80),
        ("Да", "Нет", 0),
    ],
)
def test_rouge_of_any_writing(reference: str, prediction: str, rouge1: float):
    figures = metrics.METRICS["rouge_unicode"].function([(reference,)], [prediction])
    assert figures["rouge1"] == pytest.approx(rouge1)
