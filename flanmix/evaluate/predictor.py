"""Texts in, answers out: what the evaluator asks of a model, and the model's side of it.

    predictor = ModelPredictor(model, vocabulary, Lengths(128, 32), batch_size=32)
    predictor.rank([pair])      ->  [Choice(option=1, normalized=1)]
    predictor.generate([pair])->  [Answer(text="Paris")]

Texts become ids by the functions that training uses, so that a model is asked in the form that it
has learnt. Anything with these two methods can be evaluated: tests use an oracle.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from flanmix.data.render import TextExample
from flanmix.data.tokens import Lengths, build_example, encode_inputs
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
    """

    option: int
    normalized: int
    truncated: bool = False


class Answer(NamedTuple):
    """An answer by generation.

    Attributes:
        text: what was written.
        truncated: whether the input was too long and was truncated.
    """

    text: str
    truncated: bool = False


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
        questions = self._questions(pairs)
        scores = rank(
            self.model,
            questions,
            lengths=self.lengths,
            batch_size=self.batch_size,
            bos_id=self.vocabulary.bos_id,
        )
        return [
            Choice(score.best, score.best_normalized, question[0].inputs_truncated)
            for score, question in zip(scores, questions, strict=True)
        ]

    def _questions(self, pairs: Sequence[TextExample]) -> list[Question]:
        texts = [pair.inputs for pair in pairs] + [text for pair in pairs for text in pair.options]
        ids = iter(self.vocabulary.encode_batch(texts))
        inputs = [next(ids) for _ in pairs]
        return [
            tuple(
                build_example(own, next(ids), self.vocabulary, self.lengths) for _ in pair.options
            )
            for pair, own in zip(pairs, inputs, strict=True)
        ]

    def generate(self, pairs: Sequence[TextExample]) -> list[Answer]:
        """Decodes an answer to each pair greedily."""
        prompts = [encode_inputs(pair.inputs, self.vocabulary, self.lengths) for pair in pairs]
        untruncated = self.vocabulary.encode_batch([pair.inputs for pair in pairs])
        tail = 1 if self.lengths.two_sided else 0
        answers = generate(
            self.model,
            prompts,
            max_length=self.lengths.inputs,
            max_new_tokens=self.lengths.targets,
            batch_size=self.batch_size,
            eos_id=self.vocabulary.eos_id,
            bos_id=self.vocabulary.bos_id,
        )
        return [
            Answer(self.vocabulary.decode(answer), len(text) + tail > len(prompt))
            for answer, text, prompt in zip(answers, untruncated, prompts, strict=True)
        ]
