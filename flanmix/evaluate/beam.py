"""Beam search: the likeliest of whole texts, of which the best few are kept at every step.

    found = beam_search(model, batch, live, ends, beams=4, max_new_tokens=32, length_penalty=0.6)
    found.tokens[0, 0], found.logprobs[0, 0]        # the best text of the first prompt

The search is T5X's (`decoding.beam_search`): at every step the best continuations of all beams are
ranked; those that end are finished texts, the best of the others go on. Texts are compared by their
log-probability divided by ((5 + length) / 6) ** length_penalty (Wu et al., 2016, section 7), where
the length counts the end token. A prompt is done when none of its beams can come to be better than
its worst finished text. In two points it follows `transformers`, so that with a length penalty of 0
both find the same texts: of a step's continuations only the best `beams` may finish, and texts that
reach the greatest length finish there and compete.
"""

# P prompts, K beams, R rows (P x K), V vocabulary, M new tokens, C continuations, E end tokens.

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flanmix.model.api import LanguageModel
from flanmix.model.sharding import constrain

_NEVER = -1e9  # the score of what is not there


class Found(NamedTuple):
    """The finished texts of every prompt, best first; under a mesh, replicated.

    Attributes:
        tokens: new tokens; padding follows the end token.
        logprobs: log-probability of each text.
        complete: False where there are fewer texts than beams.
    """

    tokens: Int[Array, "P K M"]
    logprobs: Float[Array, "P K"]
    complete: Bool[Array, "P K"]


class _State(NamedTuple):
    """A search between two steps; all but the cache is replicated."""

    step: Int[Array, ""]
    live: Float[Array, "P K"]  # log-probabilities of the beams
    tokens: Int[Array, "P K M"]
    last: Int[Array, " R"]
    scores: Float[Array, "P K"]  # of finished texts
    finished: Int[Array, "P K M"]
    lengths: Int[Array, "P K"]
    settled: Bool[Array, " P"]
    cache: Any


def penalty(length: Int[Array, "..."] | int, alpha: float) -> Array:
    """Returns what divides the log-probability of a text."""
    return ((5.0 + length) / 6.0) ** jnp.float32(alpha)


@functools.partial(jax.jit, static_argnames=("beams", "max_new_tokens", "length_penalty"))
def beam_search(
    model: LanguageModel,
    batch: Mapping[str, Array],
    live_R: Bool[Array, " R"],
    ends_E: Int[Array, " E"],
    *,
    beams: int,
    max_new_tokens: int,
    length_penalty: float,
) -> Found:
    """Searches a batch.

    Args:
        model: a model with `prefill` and `decode_step`, whose cache has `take`.
        batch: the prompts' features, each prompt in `beams` rows that follow each other.
        live_R: False for the rows that only fill the batch; they are not waited for.
        ends_E: the tokens that end a text.
        beams: hypotheses of a prompt.
        max_new_tokens: most tokens of a text, its end included.
        length_penalty: alpha.
    """
    logits_RV, cache = model.prefill(batch, max_new_tokens)
    prompts = logits_RV.shape[0] // beams
    none_PK = jnp.full((prompts, beams), _NEVER)
    empty_PKM = jnp.zeros((prompts, beams, max_new_tokens), jnp.int32)
    state = _State(
        step=jnp.int32(0),
        live=none_PK.at[:, 0].set(0.0),  # at first all beams are the same
        tokens=empty_PKM,
        last=jnp.zeros(prompts * beams, jnp.int32),
        scores=none_PK,
        finished=empty_PKM,
        lengths=jnp.ones((prompts, beams), jnp.int32),
        settled=constrain(~live_R, None).reshape(prompts, beams)[:, 0],
        cache=cache,
    )
    select = functools.partial(_select, ends_E=ends_E, alpha=length_penalty)

    def unfinished(state: _State) -> Array:
        return (state.step < max_new_tokens) & ~jnp.all(state.settled)

    def one_more(state: _State) -> _State:
        logits_RV, cache = model.decode_step(state.cache, state.last)
        return select(state._replace(cache=cache), logits_RV)

    state = jax.lax.while_loop(unfinished, one_more, select(state, logits_RV))
    logprobs_PK = state.scores * penalty(state.lengths, length_penalty)
    return Found(state.finished, logprobs_PK, state.scores > _NEVER / 2)


def _select(state: _State, logits_RV: Array, ends_E: Array, alpha: float) -> _State:
    """Ranks the continuations of all beams: those that end, and those that go on."""
    prompts, beams, most = state.tokens.shape
    vocabulary = logits_RV.shape[-1]
    logprobs_RV = jax.nn.log_softmax(constrain(logits_RV, None, None))
    sums_PX = (state.live.reshape(-1, 1) + logprobs_RV).reshape(prompts, beams * vocabulary)
    # So many that enough of them go on, whichever end.
    count = min(beams * max(2, 1 + ends_E.shape[0]), beams * vocabulary)
    sums_PC, index_PC = jax.lax.top_k(sums_PX, count)
    beam_PC, token_PC = index_PC // vocabulary, (index_PC % vocabulary).astype(jnp.int32)
    tokens_PCM = _of(state.tokens, beam_PC)
    tokens_PCM = jax.lax.dynamic_update_slice(tokens_PCM, token_PC[..., None], (0, 0, state.step))
    ends_PC = (token_PC[..., None] == ends_E).any(-1) | (state.step == most - 1)

    may_end_PC = ends_PC & (jnp.arange(count) < beams) & ~state.settled[:, None]
    scores_PC = jnp.where(may_end_PC, sums_PC / penalty(state.step + 1, alpha), _NEVER)
    scores_PK, best_PK = jax.lax.top_k(jnp.concatenate([state.scores, scores_PC], 1), beams)
    lengths_PC = jnp.full_like(token_PC, state.step + 1)
    finished_PKM = _of(jnp.concatenate([state.finished, tokens_PCM], 1), best_PK)
    lengths_PK = _of(jnp.concatenate([state.lengths, lengths_PC], 1)[..., None], best_PK)[..., 0]

    live_PK, next_PK = jax.lax.top_k(sums_PC + jnp.where(ends_PC, _NEVER, 0), beams)
    from_PK = _of(beam_PC[..., None], next_PK)[..., 0]
    rows_R = (jnp.arange(prompts)[:, None] * beams + from_PK).reshape(-1)
    # A log-probability only falls, and no text can be divided by more than the longest.
    hope_P = live_PK[:, 0] / penalty(most, alpha)
    tokens_PKM = _of(tokens_PCM, next_PK)
    return _State(
        step=state.step + 1,
        live=live_PK,
        tokens=tokens_PKM,
        last=_of(token_PC[..., None], next_PK).reshape(-1),
        scores=scores_PK,
        finished=finished_PKM,
        lengths=lengths_PK,
        settled=state.settled | ((scores_PK[:, -1] > _NEVER / 2) & (hope_P <= scores_PK[:, -1])),
        cache=state.cache.take(rows_R),
    )


def _of(x_PCM: Int[Array, "P C M"], index_PK: Int[Array, "P K"]) -> Int[Array, "P K M"]:
    """Returns of each prompt's entries those of an index."""
    return jnp.take_along_axis(x_PCM, index_PK[..., None], axis=1)
