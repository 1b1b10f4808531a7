"""Generation with a cache of keys and values, in batches, for both kinds of model.

A row is decoded until it gives an end token, and the batch until every row has:

    generate(Decoding(model, ...), [ids of "2 + 3 =", ids of "5 + 1 ="])
    ->  [[Generated(ids of "5")], [Generated(ids of "6")]]        # a list of samples each

Prompts of unequal lengths share a batch, padded on the right; what a row gives does not depend on
the rows beside it, drawn or not (`flanmix.evaluate.sampling`). Prompts go by length, and a batch
has one of four widths, so that few functions are compiled for a model. A caller can look at the
ids while they come: `stream` yields them, and `ends` says where a text ends that no end token does.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jaxtyping import Array

from flanmix.errors import UserError
from flanmix.evaluate.batches import check_ids, fixed_batches, to_devices
from flanmix.evaluate.beam import beam_search
from flanmix.evaluate.sampling import GREEDY, Sampling, row_seeds
from flanmix.evaluate.token_loop import advance, start
from flanmix.model.api import LanguageModel
from flanmix.model.sharding import RULES

_CHUNK = 8  # steps between two looks of the host, where it looks

T = TypeVar("T")
# Returns after how many of its ids a text ends, or None if it does not yet.
Ends = Callable[[np.ndarray], int | None]


class Generated(NamedTuple):
    """What a model wrote.

    Attributes:
        ids: i32; the end token is the last, unless the text reached its greatest length.
        logprob: log-probability of these ids under the model, in nats, if it was asked for.
    """

    ids: np.ndarray
    logprob: float | None = None


# ---- prompts -------------------------------------------------------------------------------------


def prompt_rows(
    prompts: Sequence[np.ndarray], width: int, architecture: str, start_id: int | None
) -> dict[str, np.ndarray]:
    """Lays prompts out one a row, padded on the right to `width`.

    A decoder reads them as in training, shifted right behind its start token if it has one, so that
    what it predicts after the last token of the prompt is the first new one.

    Raises:
        UserError: there is nothing to read: no start token, and a prompt without tokens.
    """
    two_sided = architecture == "encoder_decoder"
    start = [] if two_sided or start_id is None else [start_id]
    if not (two_sided or start or all(map(len, prompts))):
        raise UserError(
            "a prompt has no tokens, and the vocabulary begins no text: write something"
        )
    tokens = np.zeros((len(prompts), width), np.int32)
    segments = np.zeros((len(prompts), width), np.int32)
    for row, prompt in enumerate(prompts):
        ids = [*start, *prompt]
        tokens[row, : len(ids)] = ids
        segments[row, : len(ids)] = 1
    positions = np.broadcast_to(np.arange(width, dtype=np.int32), tokens.shape) * segments
    side = "encoder" if two_sided else "decoder"
    features = {
        f"{side}_input_tokens": tokens,
        f"{side}_segment_ids": segments,
        f"{side}_positions": positions,
    }
    if architecture == "prefix":
        features["decoder_prefix"] = segments
    return features


@dataclass(frozen=True)
class Decoding:
    """What all batches of a call have in common.

    Attributes:
        model: a model with `prefill`, `decode_step` and `config.architecture`.
        max_length: length that most prompts are within.
        max_new_tokens: most tokens of an answer, its end included.
        batch_size: rows decoded together.
        end_ids: the tokens that end an answer.
        start_id: the token that begins a decoder-only row; None where the prompt does.
        longest: longest prompt that there may be; None for `max_length`.
        sampling: how tokens are chosen.
        scored: whether to give log-probabilities.
    """

    model: LanguageModel
    max_length: int
    max_new_tokens: int
    batch_size: int
    end_ids: tuple[int, ...]
    start_id: int | None = 0
    longest: int | None = None
    sampling: Sampling = GREEDY
    scored: bool = False

    @property
    def ends(self) -> np.ndarray:
        """The end tokens; one that is none where there are none."""
        return np.array(self.end_ids or (-1,), np.int32)

    def batch(self, prompts: Sequence[np.ndarray], rows: int) -> tuple[dict[str, Array], Array]:
        """Returns the features of prompts on the devices, and which rows are theirs."""
        architecture = self.model.config.architecture
        first = 0 if architecture == "encoder_decoder" or self.start_id is None else 1
        full = self.max_length
        widths = (full // 4, full // 2, full, self.longest or full)
        longest = max(map(len, prompts))
        width = next(width for width in widths if width >= longest) + first
        features = prompt_rows(prompts, width, architecture, self.start_id)
        live = {"live": np.ones(len(prompts), bool)}
        (batch,) = (to_devices(part) for part in fixed_batches({**features, **live}, rows))
        return batch, batch.pop("live")

    def chunks(
        self, prompts: Sequence[np.ndarray], samples: Sequence[int], stopped: np.ndarray, chunk: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Decodes one batch: yields the rows' tokens so far and their log-probabilities.

        Args:
            prompts: one a row.
            samples: number of each row's sample.
            stopped: bool [batch_size]; rows that the caller sets are not decoded further.
            chunk: most steps between two yields.
        """
        batch, live_B = self.batch(prompts, len(stopped))
        empty = [np.zeros(0, np.int32)] * (len(stopped) - len(prompts))
        seeds = row_seeds(self.sampling, [*prompts, *empty], [*samples, *[0] * len(empty)])
        fixed, rule = (seeds, self.ends), self.sampling.rule
        options = dict(sampling=rule, max_new_tokens=self.max_new_tokens, scored=self.scored)
        state = start(self.model, batch, live_B, *fixed, **options)
        step = 0
        while True:
            until = np.int32(min(step + chunk, self.max_new_tokens))
            ended = to_devices({"ended": stopped})["ended"]
            state, seen = advance(self.model, state, ended, *fixed, until, sampling=rule)
            step = int(seen.step)
            logprobs = None if seen.logprobs is None else np.asarray(seen.logprobs)[:, :step]
            yield np.asarray(seen.tokens)[:, :step], logprobs
            if step >= self.max_new_tokens or (np.asarray(seen.ended) | stopped).all():
                return

    def finished(
        self, tokens: np.ndarray, logprobs: np.ndarray | None, ends: Ends | None
    ) -> tuple[Generated, bool]:
        """Cuts a row where it ends; returns too whether it is `ends` that says so."""
        ended = np.flatnonzero(np.isin(tokens, self.end_ids))
        length = int(ended[0]) + 1 if len(ended) else len(tokens)
        stop = None if ends is None else ends(tokens[:length])
        length = length if stop is None else stop
        logprob = None if logprobs is None else float(logprobs[:length].sum(dtype=np.float64))
        return Generated(tokens[:length], logprob), stop is not None


# ---- generation ----------------------------------------------------------------------------------


def generate(
    decoding: Decoding,
    prompts: Sequence[np.ndarray],
    *,
    ends: Ends | None = None,
    report: Callable[[int], None] = lambda count: None,
) -> list[list[Generated]]:
    """Decodes any number of prompts.

    Args:
        decoding: the model, and how.
        prompts: ids of each prompt, none longer than `decoding.longest`.
        ends: says where a text ends that no end token does; its row is not decoded further.
        report: called with how many prompts were answered since it was called last.

    Returns:
        The samples of each prompt, in the prompts' order; of a beam search, the best ones, best
        first.

    Raises:
        UserError: an id is beyond the model's.
    """
    check_ids(prompts, decoding.model.config.vocab_size)
    asked = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[Generated]] = [[] for _ in prompts]
    beams, last = decoding.sampling.beams, decoding.sampling.samples - 1
    if beams > 1:
        ways = _ways()
        together = max(decoding.batch_size // beams // ways, 1) * ways
        for chosen in _batches(asked, together):
            found = _best(decoding, [prompts[i] for i in chosen], together, ends)
            for i, samples in zip(chosen, found, strict=True):
                answers[i] = samples
            report(len(chosen))
        return answers
    rows = [(i, sample) for i in asked for sample in range(last + 1)]
    for chosen in _batches(rows, decoding.batch_size):
        found = _written(decoding, [prompts[i] for i, _ in chosen], [s for _, s in chosen], ends)
        for (i, _), written in zip(chosen, found, strict=True):
            answers[i].append(written)
        report(sum(sample == last for _, sample in chosen))
    return answers


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _ways() -> int:
    """Over how many devices the rows of a batch are divided."""
    mesh = jax.sharding.get_mesh()
    return 1 if mesh.empty else math.prod(mesh.shape[axis] for axis in RULES["batch"])


def _written(
    decoding: Decoding,
    prompts: Sequence[np.ndarray],
    samples: Sequence[int],
    ends: Ends | None,
) -> list[Generated]:
    """Decodes one batch of rows to its end."""
    stopped = np.zeros(decoding.batch_size, bool)
    chunk = decoding.max_new_tokens if ends is None else _CHUNK
    written = [Generated(np.zeros(0, np.int32))] * len(prompts)
    for tokens, logprobs in decoding.chunks(prompts, samples, stopped, chunk):
        for row in np.flatnonzero(~stopped[: len(prompts)]):
            own = None if logprobs is None else logprobs[row]
            written[row], stopped[row] = decoding.finished(tokens[row], own, ends)
    return written


def _best(
    decoding: Decoding, prompts: Sequence[np.ndarray], rows: int, ends: Ends | None
) -> list[list[Generated]]:
    """Searches one batch of prompts by beams."""
    sampling = decoding.sampling
    copies = [prompt for prompt in prompts for _ in range(sampling.beams)]
    batch, live_B = decoding.batch(copies, rows * sampling.beams)
    found = beam_search(
        decoding.model,
        batch,
        live_B,
        decoding.ends,
        beams=sampling.beams,
        max_new_tokens=decoding.max_new_tokens,
        length_penalty=sampling.length_penalty,
    )
    tokens, logprobs = np.asarray(found.tokens), np.asarray(found.logprobs)
    answers = []
    for row in range(len(prompts)):
        best = []
        for beam in np.flatnonzero(np.asarray(found.complete)[row])[: sampling.samples]:
            written, _ = decoding.finished(tokens[row, beam], None, ends)
            logprob = float(logprobs[row, beam]) if decoding.scored else None
            best.append(written._replace(logprob=logprob))
        answers.append(best)
    return answers


def stream(
    decoding: Decoding, prompt: np.ndarray, *, ends: Ends | None = None
) -> Iterator[Generated]:
    """Decodes one prompt; yields what there is of it after each token.

    Raises:
        UserError: an id is beyond the model's.
    """
    check_ids([prompt], decoding.model.config.vocab_size)
    stopped = np.zeros(decoding.batch_size, bool)
    for tokens, logprobs in decoding.chunks([prompt], [0], stopped, 1):
        own = None if logprobs is None else logprobs[0]
        written, stopped[0] = decoding.finished(tokens[0], own, ends)
        yield written
