"""Texts in, answers out: what the evaluator asks of a model, and the model's side of it.

    predictor = ModelPredictor(model, vocabulary, Lengths(128, 32), batch_size=32)
    predictor.rank([pair])      ->  [Choice(option=1, normalized=1)]
    predictor.generate([pair])  ->  [Answer(text="Paris")]
    predictor.write([ids])      ->  [[Written(text="Paris")]]

Texts become ids by the functions that training uses, so that a model is asked in the form that it
has learnt. Anything with these two methods can be evaluated: tests use an oracle.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from flanmix.data.chat.format import ChatFormat
from flanmix.data.render import TextExample, answered
from flanmix.data.separator import separator_ids
from flanmix.data.sides import two_sides
from flanmix.data.tokens import Lengths, build_question
from flanmix.data.vocabulary import Vocabulary
from flanmix.evaluate.decode import Decoding, Ends, generate, stream
from flanmix.evaluate.rank import Question, rank
from flanmix.evaluate.sampling import GREEDY, Sampling
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


class Written(NamedTuple):
    """One text that a model wrote.

    Attributes:
        text: without its end token, and without a stop string and what follows it.
        logprob: log-probability of its tokens under the model, those of its end included, if it was
            asked for.
    """

    text: str
    logprob: float | None = None


class Answer(NamedTuple):
    """An answer by generation.

    Attributes:
        text: what was written; the first of the samples.
        truncated: whether the input was too long and was truncated.
        targets_truncated: whether all that is asked for is longer than an answer can be.
        samples: all texts that were asked for; the best of a beam search, best first.
    """

    text: str
    truncated: bool = False
    targets_truncated: bool = False
    samples: tuple[Written, ...] = ()


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
        lengths: rows as in training; no answer is longer than `lengths.targets`, unless the
            sampling says how long.
        batch_size: rows computed together; under a mesh a multiple of the devices of its batch.
        sampling: how answers are generated.
        scored: whether generated answers have log-probabilities.
        chat: the chat format of its training; None for plain text.
    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        lengths: Lengths,
        *,
        batch_size: int = 32,
        sampling: Sampling = GREEDY,
        scored: bool = False,
        chat: ChatFormat | None = None,
    ) -> None:
        self.model = model
        self.vocabulary = vocabulary
        self.lengths = lengths
        self.batch_size = batch_size
        self.sampling = sampling
        self.scored = scored
        self.chat = chat

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

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end an answer: the vocabulary's, and that of a chat template's turns."""
        return (self.chat or self.vocabulary).end_ids

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of an answer, its end included."""
        return self.sampling.max_new_tokens or self.lengths.targets

    def generate(
        self, pairs: Sequence[TextExample], *, report: Callable[[int], None] = lambda count: None
    ) -> list[Answer]:
        """Writes an answer to each pair.

        An input keeps what training keeps of it beside the longest of its references; one that has
        none, such as a prompt, what training keeps beside the shortest answer.

        Args:
            pairs: inputs, and references if there are any.
            report: called with how many were answered since it was called last.
        """
        asked_for = [pair.references or (pair.targets,) for pair in pairs]
        questions = self._questions(pairs, asked_for)
        written = self.write([question[0].inputs for question in questions], report=report)
        return [
            Answer(
                samples[0].text,
                question[0].inputs_truncated,
                all(
                    reference.targets_truncated or len(reference.targets) > self.max_new_tokens
                    for reference in question
                ),
                tuple(samples),
            )
            for samples, question in zip(written, questions, strict=True)
        ]

    def write(
        self, prompts: Sequence[np.ndarray], *, report: Callable[[int], None] = lambda count: None
    ) -> list[list[Written]]:
        """Writes texts to prompts that are ids already, none longer than inputs may be.

        Returns:
            The samples of each prompt.
        """
        ends = self._ends()
        generated = generate(self._decoding(), prompts, ends=ends, report=report)
        return [[Written(self._text(own.ids), own.logprob) for own in each] for each in generated]

    def prompt(self, pair: TextExample) -> tuple[np.ndarray, bool]:
        """Returns the ids of what a pair asks, and whether it was too long and was truncated."""
        ((asked,),) = self._questions([pair], [("",)])
        return asked.inputs, asked.inputs_truncated

    def stream(self, prompt: np.ndarray) -> Iterator[str]:
        """Writes a text to one prompt of ids; yields what there is of it after each token."""
        for written in stream(self._decoding(), prompt, ends=self._ends()):
            yield self._text(written.ids)

    def _decoding(self) -> Decoding:
        return Decoding(
            self.model,
            max_length=self.lengths.inputs,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
            end_ids=self.end_ids,
            start_id=self.vocabulary.start_id,
            longest=self.lengths.longest_inputs,
            sampling=self.sampling,
            scored=self.scored,
        )

    def _text(self, ids: np.ndarray) -> str:
        """The text of ids, cut where a stop string begins."""
        ended = len(ids) and ids[-1] in self.end_ids
        text = self.vocabulary.decode(ids[:-1] if ended else ids)
        found = [at for stop in self.sampling.stop if (at := text.find(stop)) >= 0]
        return text[: min(found)] if found else text

    def _ends(self) -> Ends | None:
        """Says after how many ids there is a stop string."""
        stops = self.sampling.stop
        if not stops:
            return None

        def has_one(ids: np.ndarray) -> bool:
            text = self.vocabulary.decode(ids)
            return any(stop in text for stop in stops)

        def ends(ids: np.ndarray) -> int | None:
            if not has_one(ids):
                return None
            return next(count for count in range(1, len(ids) + 1) if has_one(ids[:count]))

        return ends

    def _questions(
        self, pairs: Sequence[TextExample], answers: Sequence[Sequence[str]]
    ) -> list[Question]:
        """The ids of each pair's inputs with each of its answers."""
        asked = [
            self.chat.answered(pair, text) if self.chat else answered(pair, text)
            for pair, own in zip(pairs, answers, strict=True)
            for text in own
        ]
        between = separator_ids(self.vocabulary, self.lengths.separator)
        sides = iter(two_sides(asked, self.vocabulary, self.lengths.two_sided, between))
        questions = []
        for own in answers:
            inputs, targets = zip(*(next(sides) for _ in own), strict=True)
            questions.append(build_question(inputs[0], targets, self.vocabulary, self.lengths))
        return questions


def _first_equal(question: Question) -> tuple[int, ...]:
    """See `Choice.first_equal`."""
    first: dict[bytes, int] = {}
    for number, option in enumerate(question):
        first.setdefault(option.targets.tobytes(), number)
    if len(first) == len(question):
        return ()
    return tuple(first[option.targets.tobytes()] for option in question)
