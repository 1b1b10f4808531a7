"""What a token may see, by gradients that are exactly zero and by packing that changes nothing."""

import jax
import numpy as np
import pytest

from tests.model import tiny

DECODER_KINDS = [
    {},
    {"positions": "relative", "num_kv_heads": 4, "mlp": "geglu"},
    {"prefix": True},
    {"prefix": True, "positions": "relative", "num_kv_heads": 1},
]


@jax.jit
def reach(model, batch, chosen_BT):
    """Gradients of the chosen logits with respect to each row of the table of embeddings."""

    def chosen_logits(model):
        return (model(batch) * chosen_BT[:, :, None]).sum()

    return abs(jax.grad(chosen_logits)(model).embedding.table[...]).max(-1)


def tokens_of_their_own(batch, names):
    """Gives every position, padding too, a token that occurs nowhere else."""
    start = 1
    for name in names:
        count = batch[name].size
        batch[name] = np.arange(start, start + count, dtype=np.int32).reshape(batch[name].shape)
        start += count
    assert start <= tiny.VOCABULARY


def assert_sees_only(model, batch, visible, names):
    """`visible(row, position)` -> {name: bool [B, S]} of the positions that may be seen."""
    segments = batch["decoder_segment_ids"]
    for row, position in np.argwhere(segments > 0):
        chosen = np.zeros(segments.shape, np.float32)
        chosen[row, position] = 1
        reached = np.asarray(reach(model, batch, chosen))
        for name in names:
            expected = visible(row, position)[name]
            np.testing.assert_array_equal(reached[batch[name]] != 0, expected)


def test_t5_sees_its_own_segment_and_its_past():
    batch = tiny.t5_batch(tiny.T5_PACKED)
    names = ("encoder_input_tokens", "decoder_input_tokens")
    tokens_of_their_own(batch, names)

    def visible(row, position):
        seen = {}
        for name, side in zip(names, ("encoder", "decoder"), strict=True):
            segments = batch[f"{side}_segment_ids"]
            seen[name] = segments == batch["decoder_segment_ids"][row, position]
            seen[name] &= np.arange(len(segments))[:, None] == row
        seen["decoder_input_tokens"] &= np.arange(segments.shape[1]) <= position
        return seen

    assert_sees_only(tiny.model_of(tiny.t5_config()), batch, visible, names)


@pytest.mark.parametrize("kind", DECODER_KINDS)
def test_decoder_sees_its_own_segment_its_past_and_its_prefix(kind):
    batch = tiny.decoder_batch(tiny.DECODER_PACKED)
    names = ("decoder_input_tokens",)
    tokens_of_their_own(batch, names)

    def visible(row, position):
        segments = batch["decoder_segment_ids"]
        seen = np.broadcast_to(np.arange(segments.shape[1]) <= position, segments.shape)
        if kind.get("prefix"):
            seen = seen | (batch["decoder_prefix"] > 0)
        own = segments == segments[row, position]
        return {names[0]: seen & own & (np.arange(len(segments))[:, None] == row)}

    assert_sees_only(tiny.model_of(tiny.decoder_config(**kind)), batch, visible, names)


def assert_packing_changes_nothing(model, packed, separate):
    packed_loss, packed_gradients = tiny.loss_and_gradients(model, packed)
    separate_loss, separate_gradients = tiny.loss_and_gradients(model, separate)
    np.testing.assert_allclose(packed_loss, separate_loss, rtol=1e-5)
    tiny.assert_trees_close(packed_gradients, separate_gradients)
    logits = np.asarray(tiny.forward(model, packed))[packed["decoder_segment_ids"] > 0]
    expected = np.asarray(tiny.forward(model, separate))[separate["decoder_segment_ids"] > 0]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("kind", [{}, {"mlp": "relu", "tied_head": True}])
def test_packed_t5_equals_separate_examples(kind):
    packed = tiny.t5_batch(tiny.T5_PACKED)
    separate = tiny.t5_batch([[pair] for row in tiny.T5_PACKED for pair in row])
    assert_packing_changes_nothing(tiny.model_of(tiny.t5_config(**kind)), packed, separate)


@pytest.mark.parametrize("kind", DECODER_KINDS)
def test_packed_decoder_equals_separate_examples(kind):
    packed = tiny.decoder_batch(tiny.DECODER_PACKED)
    separate = tiny.decoder_batch([[length] for row in tiny.DECODER_PACKED for length in row])
    model = tiny.model_of(tiny.decoder_config(**kind))
    assert_packing_changes_nothing(model, packed, separate)


def test_rows_of_padding_make_no_nan():
    """Not in the loss and not in a gradient, also where a decoder row has nothing to attend to."""
    for other in ([], [(0, 2)], [(9, 2)], [(3, 0)]):
        batch = tiny.t5_batch([[(3, 2)], other, []])
        found = tiny.loss_and_gradients(tiny.model_of(tiny.t5_config()), batch)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    found = tiny.loss_and_gradients(
        tiny.model_of(tiny.decoder_config()), tiny.decoder_batch([[3], [], []])
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


WINDOWS = [
    {"window": 3},
    {"window": 3, "positions": "relative", "num_kv_heads": 1},
    {"window": 3, "window_pattern": "lg", "local_rope_theta": 100.0, "attention_cap": 2.0},
]


@pytest.mark.parametrize("kind", WINDOWS[:2])
def test_a_window_ends_what_a_layer_sees(kind):
    """One layer: no gradient from a token at or beyond the window; two layers see twice as far."""
    batch = tiny.decoder_batch(tiny.DECODER_PACKED)
    names = ("decoder_input_tokens",)
    tokens_of_their_own(batch, names)

    for layers in (1, 2):
        reach_of_all = layers * (kind["window"] - 1)

        def visible(row, position, reach_of_all=reach_of_all):
            segments = batch["decoder_segment_ids"]
            distance = position - np.arange(segments.shape[1])
            seen = (distance >= 0) & (distance <= reach_of_all)
            own = segments == segments[row, position]
            return {names[0]: seen & own & (np.arange(len(segments))[:, None] == row)}

        model = tiny.model_of(tiny.decoder_config(**kind, num_layers=layers))
        assert_sees_only(model, batch, visible, names)


@pytest.mark.parametrize("kind", WINDOWS)
def test_packed_windows_equal_separate_examples(kind):
    packed = tiny.decoder_batch(tiny.DECODER_PACKED)
    separate = tiny.decoder_batch([[length] for row in tiny.DECODER_PACKED for length in row])
    model = tiny.model_of(tiny.decoder_config(**kind))
    assert_packing_changes_nothing(model, packed, separate)


def test_a_pattern_of_layers_is_the_layers_one_by_one():
    """A scan over local and global layers sees what its widest layer sees, and not more."""
    batch = tiny.decoder_batch(tiny.DECODER_PACKED)
    narrow, mixed, wide = (
        tiny.forward(tiny.model_of(tiny.decoder_config(window=3, window_pattern=p)), batch)
        for p in ("l", "lg", "g")
    )
    everything = tiny.forward(tiny.model_of(tiny.decoder_config()), batch)
    np.testing.assert_allclose(wide, everything, atol=1e-6)
    far = batch["decoder_positions"] >= 3
    assert np.abs(mixed - narrow)[far].max() > 1e-3
    assert np.abs(mixed - wide)[far].max() > 1e-3
    near = (batch["decoder_segment_ids"] > 0) & ~far
    for logits in (narrow, mixed):
        np.testing.assert_allclose(logits[near], everything[near], atol=1e-6)
