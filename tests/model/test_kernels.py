"""Both forms of the products are one function, and no gradient passes what is not seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.model.api import KERNELS, Compute
from flanmix.model.kernels import MASKED
from tests.model import tiny

CASES = {
    "t5": (tiny.t5_config(), tiny.t5_batch(tiny.T5_PACKED)),
    "prefix": (
        tiny.decoder_config(positions="relative", prefix=True),
        tiny.decoder_batch(tiny.DECODER_PACKED),
    ),
    "capped": (
        tiny.decoder_config(window=3, window_pattern="lg", attention_cap=1.0, post_norms=True),
        tiny.decoder_batch(tiny.DECODER_PACKED),
    ),
}
B, T, S, H, K = 2, 3, 5, 2, 4


def inputs(blind):
    """Queries, keys, values, a mask whose rows `blind` see nothing, and a bias."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(B, n, H, K)).astype(np.float32) for n in (T, S, S))
    mask = rng.random((B, 1, T, S)) < 0.6
    mask[..., 0] = True
    mask[:, :, list(blind)] = False
    bias = rng.normal(size=(1, H, T, S)).astype(np.float32)
    return [jnp.asarray(x) for x in (q, k, v, mask, bias)]


def reference(q, k, v, mask, bias, cap=None):
    """Softmax over what is seen."""
    scores = jnp.einsum("bthk,bshk->bhts", q, k) + bias
    scores = scores if cap is None else cap * jnp.tanh(scores / cap)
    weights = jax.nn.softmax(jnp.where(mask, scores, MASKED))
    return jnp.einsum("bhts,bshk->bthk", weights, v)


def gradients(attention, arguments, dy):
    q, k, v, mask, bias = arguments

    def total(q, k, v, bias):
        return (attention(q, k, v, mask, bias) * dy).sum()

    return jax.grad(total, argnums=(0, 1, 2, 3))(q, k, v, bias)


@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize("name", KERNELS)
def test_attention_is_a_softmax_over_what_is_seen(name, cap):
    def attention(*arguments):
        return KERNELS[name].attention(*arguments, cap)

    def expected(*arguments):
        return reference(*arguments, cap)

    arguments = inputs(blind=())
    dy = np.random.default_rng(1).normal(size=(B, T, H, K)).astype(np.float32)
    np.testing.assert_allclose(attention(*arguments), expected(*arguments), atol=1e-6)
    tiny.assert_trees_close(
        gradients(attention, arguments, dy), gradients(expected, arguments, dy), 1e-5
    )


@pytest.mark.parametrize("name", KERNELS)
def test_no_gradient_passes_from_a_query_that_sees_nothing(name):
    attention, blind = KERNELS[name].attention, [1]
    arguments, all_seen = inputs(blind), inputs(blind=())
    y = np.asarray(attention(*arguments))
    np.testing.assert_array_equal(y[:, blind], 0)
    others = np.delete(np.arange(T), blind)
    np.testing.assert_array_equal(y[:, others], attention(*all_seen)[:, others])
    dy = np.zeros((B, T, H, K), np.float32)
    dy[:, blind] = 1e3
    for gradient in gradients(attention, arguments, dy):
        np.testing.assert_array_equal(gradient, 0)
    # Beside other queries it adds nothing.
    alone = np.random.default_rng(1).normal(size=dy.shape).astype(np.float32)
    alone[:, blind] = 0
    for found, expected in zip(
        gradients(attention, arguments, alone + dy),
        gradients(attention, arguments, alone),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", KERNELS)
def test_a_number_that_is_none_is_not_hidden(name):
    """A run that diverges is seen to: what is infinite is the sum alone."""
    q, *rest = inputs(blind=())
    assert np.isnan(KERNELS[name].attention(q * np.nan, *rest)).all()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_matmul_has_one_gradient(shape, dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 3, shape[0])), dtype)
    w = jnp.asarray(rng.normal(size=shape), dtype)
    dy = rng.normal(size=(2, 3, shape[1])).astype(np.float32)
    found = []
    for kernels in KERNELS.values():

        def total(x, w, matmul=kernels.matmul):
            return (matmul(x, w, None, jnp.float32) * dy).sum()

        found.append(jax.value_and_grad(total, argnums=(0, 1))(x, w))
    assert {leaf.dtype for leaf in jax.tree.leaves(found[0][1])} == {jnp.dtype(dtype)}
    as_f32 = jax.tree.map(lambda a: np.asarray(a, np.float32), found)
    tiny.assert_trees_close(*as_f32, 1e-5 if dtype == "float32" else 2e-2)


@pytest.mark.parametrize("name", CASES)
def test_models_are_the_same_with_either_form(name):
    config, batch = CASES[name]
    found = [
        (tiny.forward(model, batch), tiny.loss_and_gradients(model, batch))
        for model in (tiny.model_of(config, Compute(kernels=form)) for form in KERNELS)
    ]
    tiny.assert_trees_close(*found, 1e-5)


@pytest.mark.parametrize("name", CASES)
def test_either_form_learns_in_bfloat16(name):
    """Gradients in half the precision point the way of those in f32."""
    config, batch = CASES[name]
    _, exact = tiny.loss_and_gradients(tiny.model_of(config), batch)
    for form in KERNELS:
        model = tiny.model_of(config, Compute(dtype="bfloat16", kernels=form))
        _, gradients = tiny.loss_and_gradients(model, batch)
        a, b = (np.concatenate([x.ravel() for x in jax.tree.leaves(t)]) for t in (exact, gradients))
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.98


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("remat", ["none", "dots"])
def test_the_plain_form_is_differentiated_forward(name, remat):
    config, batch = CASES[name]
    batch = jax.tree.map(jnp.asarray, batch)
    model = tiny.model_of(config, Compute(kernels="plain", remat=remat))
    draw = np.random.default_rng(0).normal
    tangent = jax.tree.map(lambda p: jnp.asarray(draw(size=p.shape), p.dtype), model)
    run = jax.jit(lambda m, t: jax.jvp(lambda m: tiny.loss(m, batch), (m,), (t,)))
    value, slope = run(model, tangent)
    expected, gradients = tiny.loss_and_gradients(model, batch)
    products = jax.tree.map(lambda g, t: (g * t).sum(), gradients, tangent)
    inner = sum(jax.tree.leaves(products))
    np.testing.assert_allclose([value, slope], [expected, inner], rtol=1e-4)


def test_the_backend_chooses_where_nothing_is_said():
    own = jax.default_backend()
    assert Compute().products is KERNELS.get(own, KERNELS["plain"])
    assert Compute(kernels="plain").products is KERNELS["plain"]
