"""The compiled loop that generates a batch token by token, which the host can interrupt.

    state = start(model, batch, live, seeds, ends, ...)                # one token a row
    state, seen = advance(model, state, ended, seeds, ends, 8, ...)    # up to eight
    state, seen = advance(model, state, ended, seeds, ends, 16, ...)   # up to sixteen

It ends early when every row has given an end token. Between two calls the host may look at the
tokens and end rows itself. The state is used up by a call, so that the cache stays where it is.
"""

# B rows, M new tokens, V vocabulary, E end tokens.

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flanmix.evaluate.sampling import Sampling, choose, logprob_of, row_keys
from flanmix.model.api import LanguageModel
from flanmix.model.sharding import constrain

PAD = 0


class State(NamedTuple):
    """A batch between two steps."""

    step: Int[Array, ""]  # tokens of each row
    token: Int[Array, " B"]
    ended: Bool[Array, " B"]
    tokens: Int[Array, "B M"]
    logprobs: Float[Array, "B M"] | None
    seen: Bool[Array, "B V"] | None
    cache: Any


def _next(
    state: State, logits_BV: Array, ends_E: Array, seeds_B4: Array, sampling: Sampling
) -> State:
    """Chooses a token of each row; one that has ended gets padding."""
    keys_B = row_keys(seeds_B4, state.step) if sampling.temperature else None
    chosen_B = choose(logits_BV, state.seen, keys_B, sampling)
    token_B = jnp.where(state.ended, PAD, chosen_B)
    at = (0, state.step)
    logprobs, seen = state.logprobs, state.seen
    if logprobs is not None:
        logprob_B = jnp.where(state.ended, 0.0, logprob_of(logits_BV, token_B))
        logprobs = jax.lax.dynamic_update_slice(logprobs, logprob_B[:, None], at)
    if seen is not None:
        seen = seen | (jnp.arange(seen.shape[1])[None] == token_B[:, None])
    is_end_B = (token_B[:, None] == ends_E[None]).any(-1)
    return State(
        state.step + 1,
        token_B,
        state.ended | is_end_B,
        jax.lax.dynamic_update_slice(state.tokens, token_B[:, None], at),
        logprobs,
        seen,
        state.cache,
    )


@functools.partial(jax.jit, static_argnames=("sampling", "max_new_tokens", "scored"))
def start(
    model: LanguageModel,
    batch: Mapping[str, Array],
    live_B: Bool[Array, " B"],
    seeds_B4: Int[Array, "B 4"],
    ends_E: Int[Array, " E"],
    *,
    sampling: Sampling,
    max_new_tokens: int,
    scored: bool,
) -> State:
    """Reads the prompts and chooses the first token of each row.

    Args:
        model: a model with `prefill` and `decode_step`.
        batch: the prompts' features, one prompt a row.
        live_B: False for the rows that only fill the batch; they are not waited for.
        seeds_B4: randomness of the rows, of `row_seeds`.
        ends_E: the tokens that end a row.
        sampling: `Sampling.rule` of the settings.
        max_new_tokens: most tokens of a row, its end included.
        scored: whether to keep the tokens' log-probabilities.
    """
    logits_BV, cache = model.prefill(batch, max_new_tokens)
    rows, vocabulary = logits_BV.shape
    shape = (rows, max_new_tokens)
    state = State(
        step=jnp.int32(0),
        token=constrain(jnp.full(rows, PAD, jnp.int32), "batch"),
        ended=constrain(~live_B, "batch"),
        tokens=constrain(jnp.full(shape, PAD, jnp.int32), "batch", None),
        logprobs=constrain(jnp.zeros(shape), "batch", None) if scored else None,
        seen=_read(batch, vocabulary) if sampling.repetition_penalty != 1 else None,
        cache=cache,
    )
    return _next(state, logits_BV, ends_E, seeds_B4, sampling)


def _read(batch: Mapping[str, Array], vocabulary: int) -> Bool[Array, "B V"]:
    """Returns which tokens the decoder of each row has read: of an encoder-decoder, its first."""
    if "decoder_input_tokens" not in batch:
        rows = batch["encoder_input_tokens"].shape[0]
        seen_BV = jnp.broadcast_to(jnp.arange(vocabulary)[None] == PAD, (rows, vocabulary))
        return constrain(seen_BV, "batch", None)
    tokens_BT, is_token_BT = batch["decoder_input_tokens"], batch["decoder_segment_ids"] > 0
    # Padding counts as one more token, which is then left out.
    tokens_BT = constrain(jnp.where(is_token_BT, tokens_BT, vocabulary), None, None)
    rows_B1 = jnp.arange(tokens_BT.shape[0])[:, None]
    seen_BV = jnp.zeros((tokens_BT.shape[0], vocabulary + 1), bool).at[rows_B1, tokens_BT].set(True)
    return constrain(seen_BV[:, :vocabulary], "batch", None)


class Progress(NamedTuple):
    """What the host sees of a batch; under a mesh, replicated."""

    step: Int[Array, ""]
    ended: Bool[Array, " B"]
    tokens: Int[Array, "B M"]
    logprobs: Float[Array, "B M"] | None


@functools.partial(jax.jit, static_argnames="sampling", donate_argnames="state")
def advance(
    model: LanguageModel,
    state: State,
    ended_B: Bool[Array, " B"],
    seeds_B4: Int[Array, "B 4"],
    ends_E: Int[Array, " E"],
    until: Int[Array, ""],
    *,
    sampling: Sampling,
) -> tuple[State, Progress]:
    """Decodes until rows have so many tokens, or all of them have ended.

    Args:
        model: the model.
        state: what `start` or this function returned; it is used up.
        ended_B: rows that the host has ended.
        seeds_B4: as of `start`.
        ends_E: as of `start`.
        until: tokens of a row.
        sampling: as of `start`.
    """

    def unfinished(state: State) -> Array:
        return (state.step < until) & ~jnp.all(state.ended)

    def one_more(state: State) -> State:
        logits_BV, cache = model.decode_step(state.cache, state.token)
        return _next(state._replace(cache=cache), logits_BV, ends_E, seeds_B4, sampling)

    state = state._replace(ended=state.ended | constrain(ended_B, "batch"))
    state = jax.lax.while_loop(unfinished, one_more, state)
    logprobs = None if state.logprobs is None else constrain(state.logprobs, None, None)
    ended_B, tokens_BM = constrain(state.ended, None), constrain(state.tokens, None, None)
    return state, Progress(state.step, ended_B, tokens_BM, logprobs)
