"""Metrics over texts, without TensorFlow, in one table: equal to t5's where t5 has a twin.

Every function takes one tuple of references and one prediction per example and returns figures from
0 to 100 (edit distance: words), by name:

    METRICS["squad"].function([("the cat", "a cat"), ("dog",)], ["Cat!", "a hound"])
    -> {"em": 50.0, "f1": 50.0}
    METRICS["squad"].primary, METRICS["squad"].t5  ->  "f1", "squad"

A metric is added by one function and one registration, also from outside the package:

    @metric(primary="shouting")
    def shouting(references, predictions):
        return {"shouting": 100.0 * mean(text.isupper() for text in predictions)}

A metric of one reference takes the best over several: accuracy and exact match are met by any of
them, ROUGE takes the closest by each of its types, BLEU counts an n-gram of any. t5's ROUGE is the
median of a thousand random resamplings' means and changes from call to call; ours is the mean that
they scatter around.
"""

import functools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flanmix.errors import UserError
from flanmix.plugins import Registry

References = Sequence[tuple[str, ...]]
Predictions = Sequence[str]
Figures = dict[str, float]
Function = Callable[..., Figures]


@dataclass(frozen=True)
class Metric:
    """A metric of the table.

    Attributes:
        function: (references, predictions) -> figures; also takes the options if `by_class`.
        primary: the key of its figures that stands for it in means over tasks; empty for a metric
            that is not a score from 0 to 100, which is never averaged over tasks.
        by_class: whether it counts by class, and takes the options in label order.
        t5: name of its twin in `t5.evaluation.metrics`, which a task that is registered with SeqIO
            carries; None where t5 has none, and SeqIO gets `function` itself.
        reads: what the twin takes as one target and one prediction: `text` (the first reference,
            the text), `texts` (all references), `label` (indices among the options, -1 for no
            option) or `number` (floats, -1.0 for no number).
    """

    function: Function
    primary: str
    by_class: bool = False
    t5: str | None = None
    reads: Literal["text", "texts", "label", "number"] = "text"


METRICS: Registry[Metric] = Registry("metric")


def metric(
    *,
    primary: str,
    by_class: bool = False,
    t5: str | None = None,
    reads: Literal["text", "texts", "label", "number"] = "text",
) -> Callable[[Function], Function]:
    """Registers the function below it as the metric of its name; arguments as in `Metric`."""

    def register(function: Function) -> Function:
        METRICS.register(function.__name__, Metric(function, primary, by_class, t5, reads))
        return function

    return register


def primary_key(names: Iterable[str]) -> str:
    """Returns the figure that stands for a task: that of its first metric which has one."""
    return next((METRICS[name].primary for name in names if METRICS[name].primary), "")


def score(
    names: Sequence[str],
    references: References,
    predictions: Predictions,
    options: Sequence[str] = (),
) -> Figures:
    """Returns the figures of several metrics; a key met before gets its metric's name in front.

    Args:
        names: metrics by name.
        references: the texts that are right, per example.
        predictions: one text per example.
        options: the classes in label order, for the metrics that count by class.

    Raises:
        UserError: for a name that is no metric.
    """
    figures: Figures = {}
    for name in names:
        found = METRICS[name]
        classes = (options,) if found.by_class else ()
        for key, value in found.function(references, predictions, *classes).items():
            figures[f"{name}_{key}" if key in figures else key] = value
    return figures


# ---- classes and exact matches -----------------------------------------------------------------


def _exact(references: References, predictions: Predictions) -> float:
    return 100.0 * float(np.mean([p in r for r, p in zip(references, predictions, strict=True)]))


@metric(primary="accuracy", t5="accuracy")
def accuracy(references: References, predictions: Predictions) -> Figures:
    """Share of predictions that are one of the references, as exact strings."""
    return {"accuracy": _exact(references, predictions)}


@metric(primary="exact_match", t5="sequence_accuracy")
def exact_match(references: References, predictions: Predictions) -> Figures:
    """The same as accuracy, under the name that generation tasks use."""
    return {"exact_match": _exact(references, predictions)}


def _labels(
    references: References, predictions: Predictions, options: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns class indices of truth and guess (-1: no class at all) and the number of classes."""
    classes = list(options) or sorted({reference[0] for reference in references})
    number = {text: index for index, text in enumerate(classes)}
    truth, guess = [], []
    for reference, prediction in zip(references, predictions, strict=True):
        right = prediction if prediction in reference else reference[0]
        if right not in number:
            raise UserError(f"the answer {right!r} is none of the options {classes}")
        truth.append(number[right])
        guess.append(number.get(prediction, -1))
    return np.array(truth), np.array(guess), len(classes)


@metric(primary="f1", by_class=True, t5="f1_score_with_invalid", reads="label")
def f1(references: References, predictions: Predictions, options: Sequence[str] = ()) -> Figures:
    """F1 of the second of two options; of more than two, the mean of every option's F1.

    A prediction that is no option counts as the wrong one. `options` are in label order; without
    them the classes are the references' texts in alphabetical order.
    """
    from sklearn.metrics import f1_score

    truth, guess, num_classes = _labels(references, predictions, options)
    if num_classes != 2:
        return {"f1": macro_f1(references, predictions, options)["macro_f1"]}
    guess = np.where(guess < 0, 1 - truth, guess)
    return {"f1": 100.0 * float(f1_score(truth, guess, zero_division=0))}


@metric(primary="macro_f1", by_class=True, t5="mean_multiclass_f1", reads="label")
def macro_f1(
    references: References, predictions: Predictions, options: Sequence[str] = ()
) -> Figures:
    """The unweighted mean of every class's F1; a class that never occurs counts as 0, as in t5."""
    from sklearn.metrics import f1_score

    truth, guess, num_classes = _labels(references, predictions, options)
    labels = list(range(num_classes))
    value = f1_score(truth, guess, labels=labels, average="macro", zero_division=0)
    return {"macro_f1": 100.0 * float(value)}


# ---- question answering ------------------------------------------------------------------------


def _normalize(text: str, punctuation: str, replacement: str) -> str:
    """Lower case, no punctuation, no English articles, single spaces."""
    text = text.lower().translate(dict.fromkeys(map(ord, punctuation), replacement))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _word_f1(reference: str, prediction: str) -> float:
    ours, theirs = prediction.split(), reference.split()
    same = sum((Counter(ours) & Counter(theirs)).values())
    return 2.0 * same / (len(ours) + len(theirs)) if same else 0.0


def _question_answering(
    references: References, predictions: Predictions, punctuation: str, replacement: str
) -> Figures:
    """Exact match and word F1 after normalisation, each the best over the references."""
    exact, words = [], []
    for reference, prediction in zip(references, predictions, strict=True):
        guess = _normalize(prediction, punctuation, replacement)
        truths = [_normalize(text, punctuation, replacement) for text in reference]
        exact.append(guess in truths)
        words.append(max(_word_f1(truth, guess) for truth in truths))
    return {"em": 100.0 * float(np.mean(exact)), "f1": 100.0 * float(np.mean(words))}


@metric(primary="f1", t5="squad", reads="texts")
def squad(references: References, predictions: Predictions) -> Figures:
    """Exact match and word F1 by the rule of SQuAD 1.1's own script."""
    return _question_answering(references, predictions, string.punctuation, "")


@metric(primary="em", t5="trivia_qa", reads="texts")
def trivia_qa(references: References, predictions: Predictions) -> Figures:
    """Exact match and word F1 by TriviaQA's rule: punctuation parts words."""
    return _question_answering(references, predictions, string.punctuation + "‘’´`_", " ")


# ---- generated texts ---------------------------------------------------------------------------


@metric(primary="rougeLsum", t5="rouge")
def rouge(references: References, predictions: Predictions) -> Figures:
    """ROUGE-1, ROUGE-2 and summary-level ROUGE-L F-measures, the best reference by each type."""
    return _rouge(references, predictions, tokenizer=None)


@metric(primary="rougeLsum")
def rouge_unicode(references: References, predictions: Predictions) -> Figures:
    """ROUGE over the words of any writing, which `rouge` takes from a to z and digits alone.

    Chinese, Japanese and other writing without spaces counts by the character.
    """
    return _rouge(references, predictions, tokenizer=_UnicodeWords())


def _rouge(references: References, predictions: Predictions, tokenizer: Any) -> Figures:
    from rouge_score.rouge_scorer import RougeScorer

    types = ("rouge1", "rouge2", "rougeLsum")
    scorer = RougeScorer(rouge_types=types, tokenizer=tokenizer)

    def sentences(text: str) -> str:
        return text.replace(" . ", " .\n")  # ROUGE-Lsum works line by line

    scores = [
        scorer.score_multi([sentences(text) for text in reference], sentences(prediction))
        for reference, prediction in zip(references, predictions, strict=True)
    ]
    return {t: 100.0 * float(np.mean([score[t].fmeasure for score in scores])) for t in types}


_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


class _UnicodeWords:
    """Splits a text into words of letters, marks and digits, as rouge_score asks."""

    def tokenize(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFKC", text).casefold()
        return "".join(map(_spaced, text)).split()


@functools.cache
def _spaced(character: str) -> str:
    """A character of a word, one that is a word by itself between spaces, or a space."""
    kind = unicodedata.category(character)
    if kind[0] not in "LMN":
        return " "
    alone = kind == "Lo" and unicodedata.name(character, "").startswith(_UNSPACED)
    return f" {character} " if alone else character


@metric(primary="bleu", t5="bleu")
def bleu(references: References, predictions: Predictions) -> Figures:
    """Corpus BLEU with the international tokenizer and exponential smoothing."""
    from sacrebleu import corpus_bleu

    most = max(len(reference) for reference in references)
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    score = corpus_bleu(
        list(predictions),
        streams,  # pyrefly: ignore  # None, for a missing reference, is in its documentation
        smooth_method="exp",
        smooth_value=0.0,
        tokenize="intl",
    )
    return {"bleu": float(score.score)}


def _word_distance(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Levenshtein distance between two lists of words."""
    row = list(range(len(theirs) + 1))
    for i, word in enumerate(ours, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(theirs, start=1):
            change = diagonal + (word != other)
            diagonal, row[j] = row[j], min(change, row[j] + 1, row[j - 1] + 1)
    return row[-1]


@metric(primary="", t5="edit_distance")
def edit_distance(references: References, predictions: Predictions) -> Figures:
    """Distance in lower-cased words to the closest reference: its spread over the examples."""

    def words(text: str) -> list[str]:
        return re.split(r"[^\w]", text.lower())

    distances = [
        min(_word_distance(words(prediction), words(text)) for text in reference)
        for reference, prediction in zip(references, predictions, strict=True)
    ]
    figures = {"min": np.min, "max": np.max, "mean": np.mean, "median": np.median, "sum": np.sum}
    return {f"{name}_edit": float(function(distances)) for name, function in figures.items()}


# ---- numbers -----------------------------------------------------------------------------------


def _number(text: str) -> float:
    """The text as a number; -1 where it is none, as T5's post-processor has it."""
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if np.isfinite(value) else -1.0


def _numbers(references: References, predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    truth = np.array([_number(reference[0]) for reference in references])
    return truth, np.array([_number(prediction) for prediction in predictions])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation times 100; 0 where it is not defined (one side constant)."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return 100.0 * float(np.corrcoef(a, b)[0, 1])


@metric(primary="pearson", t5="pearson_corrcoef", reads="number")
def pearson(references: References, predictions: Predictions) -> Figures:
    """Pearson's correlation of the numbers that the texts spell, times 100."""
    return {"pearson": _correlation(*_numbers(references, predictions))}


@metric(primary="spearman", t5="spearman_corrcoef", reads="number")
def spearman(references: References, predictions: Predictions) -> Figures:
    """Spearman's rank correlation of the numbers that the texts spell, times 100."""
    from scipy.stats import rankdata

    truth, guess = _numbers(references, predictions)
    return {"spearman": _correlation(rankdata(truth), rankdata(guess))}
