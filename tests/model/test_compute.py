"""How a model computes: dtype, recomputation, dropout, shapes; and what a configuration refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flanmix.model import layers
from flanmix.model.decoder import DecoderConfig
from flanmix.model.t5 import T5Config
from tests.model import tiny

CASES = {
    "t5": (tiny.t5_config(), tiny.t5_batch(tiny.T5_PACKED)),
    "decoder": (tiny.decoder_config(), tiny.decoder_batch(tiny.DECODER_PACKED)),
}


def with_config(model, **changes):
    """The same parameters under a changed configuration."""
    config = dataclasses.replace(model.config, **changes)
    abstract = jax.eval_shape(config.init, jax.random.key(0))
    return jax.tree.unflatten(jax.tree.structure(abstract), jax.tree.leaves(model))


@pytest.mark.parametrize("name, remat", [("t5", "full"), ("decoder", "dots")])
def test_recomputing_changes_nothing(name, remat):
    config, batch = CASES[name]
    model = tiny.model_of(config)
    expected = tiny.loss_and_gradients(model, batch)
    found = tiny.loss_and_gradients(with_config(model, remat=remat), batch)
    tiny.assert_trees_close(found, expected, 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_computes_near_f32(name):
    config, batch = CASES[name]
    model = tiny.model_of(config)
    half = with_config(model, dtype="bfloat16")
    logits, expected = tiny.forward(half, batch), tiny.forward(model, batch)
    assert logits.dtype == jnp.float32
    assert not np.array_equal(logits, expected)
    assert np.abs(logits - expected).mean() < 0.05 * np.abs(expected).mean()
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype("float32")}
    gradients = jax.eval_shape(jax.grad(tiny.loss), half, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", CASES)
def test_dropout_is_a_function_of_its_key(name):
    config, batch = CASES[name]
    model = with_config(tiny.model_of(config), dropout_rate=0.5)
    run = jax.jit(lambda model, batch, key: model(batch, dropout_key=key))
    first, again, other = (run(model, batch, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, tiny.forward(model, batch))


def test_dropout_keeps_the_mean_and_draws_for_each_layer_and_example():
    x = jnp.ones((64, 3, 256))
    y = np.asarray(layers.dropout(x, jax.random.key(0), 0.25, site=0))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.01
    np.testing.assert_array_equal(y[:, 0], y[:, 2])  # one draw for all positions
    assert not np.array_equal(y[0], y[1])
    _, drawn = layers.scan_layers(
        lambda layer, x, key: (x, layers.dropout(x, key, 0.5, site=0)),
        jnp.ones((1, 1, 64)),
        None,
        4,
        dropout_key=jax.random.key(0),
    )
    assert len({layer.tobytes() for layer in np.asarray(drawn)}) == 4


@pytest.mark.parametrize("name", CASES)
def test_no_shape_is_promoted_by_accident(name):
    config, batch = CASES[name]
    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(jax.grad(tiny.loss), tiny.model_of(config), batch)
        jax.eval_shape(lambda m, b: m.prefill(b, 3), tiny.model_of(config), batch)


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_matrices_in_layers(name):
    """So that an optimizer that factors second moments sees one matrix a layer."""
    config, _ = CASES[name]
    _, parameters, rest = nnx.split(tiny.model_of(config), nnx.Param, ...)
    assert not jax.tree.leaves(rest)
    for path, leaf in jax.tree_util.tree_flatten_with_path(parameters)[0]:
        name = jax.tree_util.keystr(path)
        stacked = any(part in name for part in ("'encoder'", "'decoder'", "'layers'"))
        assert leaf.ndim - stacked == (1 if "norm" in name else 2), name
        assert not stacked or leaf.shape[0] == 2, name


def test_init_gives_logits_of_order_one():
    for config, batch in CASES.values():
        model = jax.jit(config.init)(jax.random.key(1))
        assert 0.3 < float(tiny.forward(model, batch).std()) < 3


@pytest.mark.parametrize(
    "kind, field, value",
    [
        (T5Config, "num_heads", 0),
        (T5Config, "dropout_rate", 1.0),
        (T5Config, "dtype", "float16"),
        (T5Config, "mlp", "gelu"),
        (T5Config, "remat", "some"),
        (T5Config, "num_buckets", 31),
        (DecoderConfig, "num_kv_heads", 3),
        (DecoderConfig, "positions", "absolute"),
        (DecoderConfig, "head_dim", 63),
        (DecoderConfig, "num_layers", 0),
    ],
)
def test_a_configuration_names_the_field_and_its_value(kind, field, value):
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.{field} is .*{value}"):
        kind(**{field: value})
