"""Rank classification: the log-likelihood of every option of a question, given its inputs.

    rank(model, [(example of "2 + 3 =" -> "5", example of "2 + 3 =" -> "6")], ...)
    ->  [OptionScores(sums=[-0.3, -4.1], lengths=[2, 2])]          # nats and tokens, EOS included

Options are scored in packed rows of one shape, so that one compiled function serves all tasks. Two
layouts keep the waste small:

    encoder-decoder   inputs of several questions share an encoder row; each option is a decoder
                      segment of its own that sees its question's inputs, which are encoded once
        encoder_segment_ids  1 1 1 1 2 2 2 0         question 1, question 2
        decoder_segment_ids  1 1 2 2 3 3 4 4         options a, b, then a, b
        decoder_source_ids   1 1 1 1 2 2 2 2         the encoder segment that each reads
    decoder-only      a segment is inputs and one option; segments are packed

Padding has no target, and no sum takes it in.
"""

# B rows, T targets, V vocabulary.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from flanmix.data.packing import DECODER_START, Features, pack_row
from flanmix.data.tokens import Example, Lengths
from flanmix.evaluate.batches import check_ids, fixed_batches, to_devices
from flanmix.model.api import LanguageModel
from flanmix.model.sharding import constrain

_OPEN_ROWS = 16  # rows that may still take a question while packing
_UNREAD = ("decoder_task_ids", "decoder_loss_weights", "row_stats")  # training's alone

# A question as training would tokenize it: an example for each option, the inputs the same in all
# (flanmix/data/tokens.py: build_question).
Question = tuple[Example, ...]


class OptionScores(NamedTuple):
    """What a model thinks of a question's options.

    Attributes:
        sums: log-likelihood of each option, summed over its tokens, in nats.
        lengths: tokens of each option that are predicted, EOS included; at least 1.
    """

    sums: np.ndarray
    lengths: np.ndarray

    @property
    def best(self) -> int:
        """The likeliest option (Wei et al. 2022, section 2.2; Sanh et al. 2022, section 5)."""
        return int(np.argmax(self.sums))

    @property
    def best_normalized(self) -> int:
        """The option whose tokens are likeliest on average."""
        return int(np.argmax(self.sums / self.lengths))


class OptionTokens(NamedTuple):
    """Where the tokens of an option lie among the rows."""

    question: int
    option: int
    row: int
    start: int
    stop: int


@dataclass
class _Row:
    """A row being packed: the tokens left on both sides and, in order, (question, its options)."""

    left: tuple[int, int]
    entries: list[tuple[int, list[int]]] = field(default_factory=list)


@jax.jit
def target_log_likelihoods(model: LanguageModel, batch: Mapping[str, Array]) -> Float[Array, "B T"]:
    """Log-likelihood of `decoder_target_tokens` at every position, in nats, on every device."""
    logits_BTV = model(batch)
    target_BT = constrain(batch["decoder_target_tokens"], "batch", None)
    vocabulary_V = jnp.arange(logits_BTV.shape[-1])
    # A comparison and a sum, not a gather: they work on a vocabulary that is sharded.
    hit_BTV = vocabulary_V == target_BT[:, :, None]
    at_target_BT = jnp.sum(jnp.where(hit_BTV, logits_BTV, 0.0), axis=-1)
    likelihood_BT = at_target_BT - jax.nn.logsumexp(logits_BTV, axis=-1)
    return constrain(likelihood_BT, None, None)


def rank(
    model: LanguageModel,
    questions: Sequence[Question],
    *,
    lengths: Lengths,
    batch_size: int,
    start_id: int | None = 0,
) -> list[OptionScores]:
    """Scores every option of every question.

    Args:
        model: a model whose architecture is that of `lengths`.
        questions: what to score.
        lengths: of the rows; the questions are within them.
        batch_size: rows scored together.
        start_id: the token that begins a decoder-only segment; None where its first token does.

    Returns:
        The scores in the questions' order; they do not depend on the batch size.

    Raises:
        UserError: an id is beyond the model's.
    """
    if not questions:
        return []
    check_ids(
        (ids for question in questions for option in question for ids in option[:2]),
        model.config.vocab_size,
    )
    build = _two_sided_row if lengths.two_sided else _one_sided_row
    places: list[OptionTokens] = []
    built = []
    for number, row in enumerate(_pack(questions, lengths, start_id is not None)):
        features, placed = build(questions, row, number, lengths, start_id)
        built.append({name: features[name] for name in features if name not in _UNREAD})
        places += placed
    rows = {name: np.stack([features[name] for features in built]) for name in built[0]}
    scored = [
        np.asarray(target_log_likelihoods(model, to_devices(batch)))
        for batch in fixed_batches(rows, batch_size)
    ]
    likelihood = np.concatenate(scored).astype(np.float64)
    scores = [
        OptionScores(np.zeros(len(question)), np.ones(len(question), int)) for question in questions
    ]
    for place in places:
        tokens = likelihood[place.row, place.start : place.stop]
        score = scores[place.question]
        score.sums[place.option] = tokens.sum()
        score.lengths[place.option] = max(1, len(tokens))
    return scores


def _pack(questions: Sequence[Question], lengths: Lengths, has_start: bool) -> list[_Row]:
    """Gives every question a row: the first of the newest that it fits, or a new one."""
    rows: list[_Row] = []
    for number, question in enumerate(questions):
        for run in _runs(question, lengths):
            size = _size(question, run, lengths, has_start)
            open_rows = (r for r in rows[-_OPEN_ROWS:] if _fits(size, r.left))
            row = next(open_rows, None)
            if row is None:
                row = _Row(lengths.row_capacity)
                rows.append(row)
            row.left = (row.left[0] - size[0], row.left[1] - size[1])
            row.entries.append((number, run))
    return rows


def _runs(question: Question, lengths: Lengths) -> list[list[int]]:
    """The options that go together: each alone, or for two sides as many as a row holds."""
    if not lengths.two_sided:
        return [[number] for number in range(len(question))]
    runs: list[list[int]] = [[]]
    left = lengths.targets
    for number, option in enumerate(question):
        if len(option.targets) > left:
            runs.append([])
            left = lengths.targets
        runs[-1].append(number)
        left -= len(option.targets)
    return runs


def _size(question: Question, run: list[int], lengths: Lengths, has_start: bool) -> tuple[int, int]:
    sizes = [question[number].size(lengths.two_sided, has_start) for number in run]
    return sizes[0][0], sum(targets for _, targets in sizes)


def _fits(size: tuple[int, int], left: tuple[int, int]) -> bool:
    return size[0] <= left[0] and size[1] <= left[1]


def _one_sided_row(
    questions: Sequence[Question], row: _Row, number: int, lengths: Lengths, start_id: int | None
) -> tuple[Features, list[OptionTokens]]:
    """Builds a decoder-only row: training's own, a segment an option."""
    examples = [questions[question][option] for question, (option,) in row.entries]
    places, begin, has_start = [], 0, start_id is not None
    for (question, (option,)), example in zip(row.entries, examples, strict=True):
        size, _ = example.size(lengths.two_sided, has_start)
        start = begin + max(0, len(example.inputs) - (not has_start))
        places.append(OptionTokens(question, option, number, start, begin + size))
        begin += size
    return pack_row(examples, lengths, start_id), places


def _two_sided_row(
    questions: Sequence[Question], row: _Row, number: int, lengths: Lengths, start_id: int | None
) -> tuple[Features, list[OptionTokens]]:
    """Builds an encoder-decoder row: training's own, its decoder segments divided into options."""
    examples, places = [], []
    for question, run in row.entries:
        options = [questions[question][option] for option in run]
        targets = np.concatenate([option.targets for option in options])
        weights = np.concatenate([option.weights for option in options])
        examples.append(options[0]._replace(targets=targets, weights=weights))
        for option, example in zip(run, options, strict=True):
            start = places[-1].stop if places else 0
            places.append(
                OptionTokens(question, option, number, start, start + len(example.targets))
            )
    features = pack_row(examples, lengths, start_id)
    features["decoder_source_ids"] = features["decoder_segment_ids"].copy()
    for segment, place in enumerate(places, start=1):
        features["decoder_segment_ids"][place.start : place.stop] = segment
        features["decoder_positions"][place.start : place.stop] = np.arange(
            place.stop - place.start
        )
        features["decoder_input_tokens"][place.start] = DECODER_START
    return features, places
