"""Texts in, answers out: what the evaluator asks of a model, and the model's side of it.

    predictor = ModelPredictor(model, vocabulary, Lengths(128, 32), batch_size=32)
    predictor.rank([pair])      ->  [Choice(option=1, normalized=1)]
    predictor.generate([pair])  ->  [Answer(text="Paris")]

Texts become ids by the functions that training uses, so that a model is asked in the form that it
has learnt. Anything with these two methods can be evaluated: tests use an oracle.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from flanmix.data.render import TextExample
from flanmix.data.tokens import Lengths, build_question
from flanmix.data.vocabulary import Vocabulary
from flanmix.evaluate.decode import generate
from flanmix.evaluate.rank import Question, rank
from flanmix.model.api import LanguageModel


class Choice(NamedTuple):
    """An answer by rank classification.

    Attributes:
        option: number of the option whose tokens' log-likelihoods have the greatest sum.
        normalized: number of the option with the greatest mean.
        truncated: whether the input was too long and was truncated.
        targets_truncated: whether an option was too long and was truncated.
        first_equal: for each option, the number of the first one with the same tokens; empty where
            no two are the same. Which of equal options is chosen means nothing.
    """

    option: int
    normalized: int
    truncated: bool = False
    targets_truncated: bool = False
    first_equal: tuple[int, ...] = ()


class Answer(NamedTuple):
    """An answer by generation.

    Attributes:
        text: what was written.
        truncated: whether the input was too long and was truncated.
        targets_truncated: whether all that is asked for is longer than an answer can be.
    """

    text: str
    truncated: bool = False
    targets_truncated: bool = False


class Predictor(Protocol):
    """What can be evaluated."""

    def rank(self, pairs: Sequence[TextExample]) -> list[Choice]:
        """Chooses one of each pair's `options`."""
        ...

    def generate(self, pairs: Sequence[TextExample]) -> list[Answer]:
        """Writes an answer to each pair's `inputs`."""
        ...


class ModelPredictor:
    """A model, with what is needed to ask it in texts.

    Args:
        model: a T5 or a decoder.
        vocabulary: the vocabulary of its training.
        lengths: rows as in training; no answer is longer than `lengths.targets`.
        batch_size: rows computed together; under a mesh a multiple of the devices of its batch.
    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        lengths: Lengths,
        *,
        batch_size: int = 32,
    ) -> None:
        self.model = model
        self.vocabulary = vocabulary
        self.lengths = lengths
        self.batch_size = batch_size

    def rank(self, pairs: Sequence[TextExample]) -> list[Choice]:
        """Ranks each pair's options."""
        questions = self._questions(pairs, [pair.options for pair in pairs])
        scores = rank(
            self.model,
            questions,
            lengths=self.lengths,
            batch_size=self.batch_size,
            start_id=self.vocabulary.start_id,
        )
        return [
            Choice(
                score.best,
                score.best_normalized,
                question[0].inputs_truncated,
                any(option.targets_truncated for option in question),
                _first_equal(question),
            )
            for score, question in zip(scores, questions, strict=True)
        ]

    def generate(self, pairs: Sequence[TextExample]) -> list[Answer]:
        """Decodes an answer to each pair greedily.

        An input keeps what training keeps of it beside the longest of its references; one that has
        none, such as a prompt, what training keeps beside the shortest answer.
        """
        asked_for = [pair.references or (pair.targets,) for pair in pairs]
        questions = self._questions(pairs, asked_for)
        answers = generate(
            self.model,
            [question[0].inputs for question in questions],
            max_length=self.lengths.inputs,
            longest=self.lengths.longest_inputs,
            max_new_tokens=self.lengths.targets,
            batch_size=self.batch_size,
            eos_id=self.vocabulary.eos_id,
            start_id=self.vocabulary.start_id,
        )
        return [
            Answer(
                self.vocabulary.decode(answer),
                question[0].inputs_truncated,
                all(
                    reference.targets_truncated or len(reference.targets) > self.lengths.targets
                    for reference in question
                ),
            )
            for answer, question in zip(answers, questions, strict=True)
        ]

    def _questions(
        self, pairs: Sequence[TextExample], answers: Sequence[Sequence[str]]
    ) -> list[Question]:
        """The ids of each pair's inputs with each of its answers."""
        texts = [pair.inputs for pair in pairs] + [text for own in answers for text in own]
        ids = iter(self.vocabulary.encode_batch(texts))
        inputs = [next(ids) for _ in pairs]
        return [
            build_question(own, [next(ids) for _ in texts], self.vocabulary, self.lengths)
            for own, texts in zip(inputs, answers, strict=True)
        ]


def _first_equal(question: Question) -> tuple[int, ...]:
    """See `Choice.first_equal`."""
    first: dict[bytes, int] = {}
    for number, option in enumerate(question):
        first.setdefault(option.targets.tobytes(), number)
    if len(first) == len(question):
        return ()
    return tuple(first[option.targets.tobytes()] for option in question)
