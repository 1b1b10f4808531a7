"""Greedy generation with a cache of keys and values, in batches, for both kinds of model.

A row is decoded until it gives EOS, and the batch until every row has:

    generate(model, [ids of "2 + 3 =", ids of "5 + 1 ="], ...)  ->  [ids of "5", ids of "6"]

Prompts of unequal lengths share a batch, padded on the right; what a row gives does not depend on
the rows beside it. Prompts go by length, and a batch has one of four widths, so that at most four
functions are compiled for a model.
"""

# B rows, M new tokens, V vocabulary.

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from flanmix.errors import UserError
from flanmix.evaluate.batches import check_ids, fixed_batches, to_devices
from flanmix.model.api import LanguageModel
from flanmix.model.sharding import constrain

PAD = 0


@functools.partial(jax.jit, static_argnames="max_new_tokens")
def greedy(
    model: LanguageModel,
    batch: Mapping[str, Array],
    live_B: Bool[Array, " B"],
    *,
    max_new_tokens: int,
    eos_id: int | Int[Array, ""],
) -> Int[Array, "B M"]:
    """Decodes a batch: at every step the likeliest token.

    Args:
        model: a model with `prefill` and `decode_step`.
        batch: the prompts' features, one prompt a row.
        live_B: False for the rows that only fill the batch; they are not waited for.
        max_new_tokens: most tokens of a row, EOS included.
        eos_id: the token that ends a row.

    Returns:
        The new tokens; padding follows a row's EOS. Under a mesh, replicated.
    """
    logits_BV, cache = model.prefill(batch, max_new_tokens)

    def choose(logits_BV: Array, ended_B: Array) -> tuple[Array, Array]:
        best_B = constrain(jnp.argmax(logits_BV, axis=-1).astype(jnp.int32), "batch")
        token_B = jnp.where(ended_B, PAD, best_B)
        return token_B, ended_B | (token_B == eos_id)

    token_B, ended_B = choose(logits_BV, constrain(~live_B, "batch"))
    tokens_BM = jnp.full((live_B.shape[0], max_new_tokens), PAD, jnp.int32)
    tokens_BM = constrain(tokens_BM, "batch", None).at[:, 0].set(token_B)

    def unfinished(carry: tuple) -> Array:
        step, _, ended_B, _, _ = carry
        return (step < max_new_tokens) & ~jnp.all(ended_B)

    def advance(carry: tuple) -> tuple:
        step, token_B, ended_B, tokens_BM, cache = carry
        logits_BV, cache = model.decode_step(cache, token_B)
        token_B, ended_B = choose(logits_BV, ended_B)
        tokens_BM = jax.lax.dynamic_update_slice(tokens_BM, token_B[:, None], (0, step))
        return step + 1, token_B, ended_B, tokens_BM, cache

    carry = (jnp.int32(1), token_B, ended_B, tokens_BM, cache)
    *_, tokens_BM, _ = jax.lax.while_loop(unfinished, advance, carry)
    return constrain(tokens_BM, None, None)


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


def generate(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    *,
    max_length: int,
    max_new_tokens: int,
    batch_size: int,
    eos_id: int,
    start_id: int | None = 0,
    longest: int | None = None,
) -> list[np.ndarray]:
    """Decodes any number of prompts.

    Args:
        model: a model with `prefill`, `decode_step` and `config.architecture`.
        prompts: ids of each prompt, none longer than `longest`.
        max_length: length that most prompts are within.
        max_new_tokens: most tokens of an answer, EOS included.
        batch_size: rows decoded together.
        eos_id: the token that ends an answer.
        start_id: the token that begins a decoder-only row; None where the prompt does.
        longest: longest prompt that there may be; None for `max_length`.

    Returns:
        The new ids of each prompt, in the prompts' order; EOS ends them, unless they reached
        `max_new_tokens` first.

    Raises:
        UserError: an id is beyond the model's.
    """
    check_ids(prompts, model.config.vocab_size)
    architecture = model.config.architecture
    first = 0 if architecture == "encoder_decoder" or start_id is None else 1
    widths = (max_length // 4, max_length // 2, max_length, longest or max_length)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        width = next(width for width in widths if width >= len(prompts[chosen[-1]])) + first
        rows = prompt_rows([prompts[i] for i in chosen], width, architecture, start_id)
        live = {"live": np.ones(len(chosen), bool)}
        (batch,) = (to_devices(part) for part in fixed_batches({**rows, **live}, batch_size))
        live_B = batch.pop("live")
        tokens = np.asarray(
            greedy(model, batch, live_B, max_new_tokens=max_new_tokens, eos_id=eos_id)
        )
        for row, i in enumerate(chosen):
            ended = np.flatnonzero(tokens[row] == eos_id)
            answers[i] = tokens[row, : ended[0] + 1 if len(ended) else None]
    return answers
