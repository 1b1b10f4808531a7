"""How a model computes: dtypes, recomputation, dropout, shapes; and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.model.api import KERNELS, Compute
from flanmix.model.decoder import DecoderConfig
from flanmix.model.dropout import Site, dropout
from flanmix.model.params import declarations, split
from flanmix.model.scan import scan_layers
from flanmix.model.t5 import T5Config
from tests.model import tiny

CASES = {
    "t5": (tiny.t5_config(), tiny.t5_batch(tiny.T5_PACKED)),
    "decoder": (tiny.decoder_config(), tiny.decoder_batch(tiny.DECODER_PACKED)),
}


def residuals(config, compute, batch):
    """Bytes that the forward keeps for the backward, parameters aside."""
    model = tiny.abstract_model(config, compute)
    batch = jax.tree.map(jnp.asarray, batch)
    kept = jax.eval_shape(lambda model: jax.vjp(lambda m: tiny.loss(m, batch), model)[1], model)
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))  # noqa: E731
    return size(kept) - size(model)


@pytest.mark.parametrize("name, remat", [("t5", "full"), ("t5", "dots"), ("decoder", "dots")])
@pytest.mark.parametrize("kernels", KERNELS)
def test_recomputing_changes_nothing(name, remat, kernels):
    config, batch = CASES[name]
    expected = tiny.loss_and_gradients(tiny.model_of(config), batch)
    model = tiny.model_of(config, Compute(remat=remat, kernels=kernels))
    tiny.assert_trees_close(tiny.loss_and_gradients(model, batch), expected, 1e-6)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kernels", KERNELS)
def test_the_backward_keeps_what_remat_says(name, kernels):
    """More for none than for dots, which keeps the products with kernels, and least for full."""
    config, batch = CASES[name]
    none, dots, full = (
        residuals(config, Compute(remat=remat, kernels=kernels), batch)
        for remat in ("none", "dots", "full")
    )
    assert none > 1.1 * dots
    rows, length = batch["decoder_segment_ids"].shape
    heads = config.num_heads * config.head_dim
    if name == "decoder":
        queries, keys = heads, 2 * config.num_kv_heads * config.head_dim
        kept = queries + keys + config.d_model + 2 * config.d_ff
        assert dots - full == 4 * rows * length * config.num_layers * kept
    assert dots > 1.5 * full


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_computes_near_f32(name):
    config, batch = CASES[name]
    model = tiny.model_of(config)
    half = tiny.model_of(config, Compute(dtype="bfloat16"))
    logits, expected = tiny.forward(half, batch), tiny.forward(model, batch)
    assert logits.dtype == jnp.float32
    assert not np.array_equal(logits, expected)
    assert np.abs(logits - expected).mean() < 0.05 * np.abs(expected).mean()
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype("float32")}
    gradients = jax.eval_shape(jax.grad(tiny.loss), half, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", CASES)
def test_dropout_is_a_function_of_its_rng(name):
    config, batch = CASES[name]
    model = tiny.model_of(dataclasses.replace(config, dropout_rate=0.5))
    run = jax.jit(lambda model, batch, rng: model(batch, dropout_rng=rng))
    first, again, other = (run(model, batch, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, tiny.forward(model, batch))


def test_dropout_keeps_the_mean_and_draws_for_each_layer_and_example():
    x = jnp.ones((64, 3, 256))
    y = np.asarray(dropout(x, jax.random.key(0), 0.25, Site.ALONE))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.01
    np.testing.assert_array_equal(y[:, 0], y[:, 2])  # one draw for all positions
    assert not np.array_equal(y[0], y[1])
    _, drawn = scan_layers(
        lambda layer, x, rng: (x, dropout(x, rng, 0.5, Site.ALONE)),
        jnp.ones((1, 1, 64)),
        None,
        4,
        dropout_rng=jax.random.key(0),
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
    model = tiny.abstract_model(config)
    declared = jax.tree.leaves(declarations(model))
    leaves = jax.tree_util.tree_leaves_with_path(split(model)[1])
    for (path, leaf), declaration in zip(leaves, declared, strict=True):
        name = jax.tree_util.keystr(path)
        assert leaf.ndim - declaration.stacked == (1 if "norm" in name else 2), name
        assert not declaration.stacked or leaf.shape[0] == 2, name


def test_init_gives_logits_of_order_one():
    for config, batch in CASES.values():
        model = jax.jit(config.init)(jax.random.key(1))
        assert 0.3 < float(tiny.forward(model, batch).std()) < 3


@pytest.mark.parametrize(
    "kind, field, value",
    [
        (T5Config, "num_heads", 0),
        (T5Config, "dropout_rate", 1.0),
        (T5Config, "mlp", "gelu"),
        (T5Config, "num_buckets", 31),
        (DecoderConfig, "num_kv_heads", 3),
        (DecoderConfig, "positions", "absolute"),
        (DecoderConfig, "head_dim", 63),
        (DecoderConfig, "num_layers", 0),
        (DecoderConfig, "rope_scaling", "dynamic"),
        (DecoderConfig, "rope_factor", 0.5),
        (DecoderConfig, "rope_high_turns", 0.5),
        (DecoderConfig, "window", 0),
        (DecoderConfig, "window_pattern", "lx"),
        (DecoderConfig, "local_rope_theta", 100.0),
        (DecoderConfig, "attention_cap", 0.0),
        (Compute, "dtype", "float16"),
        (Compute, "param_dtype", "float64"),
        (Compute, "remat", "some"),
        (Compute, "kernels", "tpu"),
    ],
)
def test_a_configuration_names_the_field_and_its_value(kind, field, value):
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.{field} is .*{value}"):
        kind(**{field: value})
