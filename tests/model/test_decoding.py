"""Decoding with a cache gives the logits of one pass over the whole text."""

import jax
import numpy as np
import pytest

from tests.model.tiny import (
    decoder_batch,
    decoder_config,
    forward,
    model_of,
    t5_batch,
    t5_config,
)

prefill = jax.jit(lambda model, batch, count: model.prefill(batch, count), static_argnums=2)
decode_step = jax.jit(lambda model, cache, tokens: model.decode_step(cache, tokens))


def run(model, batch, tokens_BT):
    """Logits of the first new token and of those after each of `tokens_BT`."""
    logits, cache = prefill(model, batch, tokens_BT.shape[1] + 1)
    collected = [logits]
    for tokens_B in tokens_BT.T:
        logits, cache = decode_step(model, cache, tokens_B)
        collected.append(logits)
    return np.stack(collected, axis=1)


@pytest.mark.parametrize("kind", [{}, {"mlp": "relu", "tied_head": True}, {"bias_per_layer": True}])
def test_t5_decodes_what_it_was_taught(kind):
    model = model_of(t5_config(**kind))
    batch = t5_batch([[(7, 7)], [(3, 7)], [(9, 7)]])
    stepped = run(model, batch, batch["decoder_input_tokens"][:, 1:])
    np.testing.assert_allclose(stepped, forward(model, batch), atol=1e-5)


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"positions": "relative"},
        {"prefix": True, "num_kv_heads": 1},
        {"prefix": True, "positions": "relative", "tied_head": True, "mlp": "geglu"},
        {"window": 3, "window_pattern": "lg", "qk_norm": True, "qkv_bias": True, "logit_cap": 2.0},
    ],
)
def test_decoder_decodes_what_it_was_taught(kind):
    model = model_of(decoder_config(**kind))
    new, prompts = 4, [5, 1, 8]
    whole = decoder_batch([[length + new] for length in prompts], prefixes=[[n] for n in prompts])
    prompt = {name: array[:, : max(prompts)].copy() for name, array in whole.items()}
    for row, length in enumerate(prompts):
        for array in prompt.values():
            array[row, length:] = 0
    tokens = [whole["decoder_input_tokens"][row, n : n + new] for row, n in enumerate(prompts)]
    logits = forward(model, whole)
    taught = np.stack([logits[row, n - 1 : n + new] for row, n in enumerate(prompts)])
    np.testing.assert_allclose(run(model, prompt, np.stack(tokens)), taught, atol=1e-5)


def test_a_row_of_padding_decodes_to_finite_logits():
    """The last batch of an evaluation is filled up with empty rows."""
    batch = t5_batch([[(7, 7)], [], []])
    assert np.isfinite(
        run(model_of(t5_config()), batch, batch["decoder_input_tokens"][:, 1:])
    ).all()
    batch = decoder_batch([[5], [], []], width=8)
    assert np.isfinite(
        run(model_of(decoder_config()), batch, batch["decoder_input_tokens"][:, :4])
    ).all()
